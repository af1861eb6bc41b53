"""Write docs/options.md, and the table of forms in docs/data.md, from the configuration models: `make docs`."""

import ast
import inspect
import itertools
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import BaseMetadata
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from unroll.config import experiments, params, scoring, sources, splits, tuning
from unroll.config.decoding import DecodingConfig
from unroll.config.tokenizer import TokenizerConfig
from unroll.domains import DOMAINS
from unroll.sources.forms import NAMES

PAGE = Path(__file__).with_name("options.md")
DATA_PAGE = Path(__file__).with_name("data.md")
FORMS_HEAD = "| domain | files to train on | what they have | files to score |\n|---|---|---|---|\n"
SHARED = (
    sources.RowExpectations,
    splits.ShareSplits,
    TokenizerConfig,
    DecodingConfig,
    experiments.Embedding,
    experiments.Decoder,
    experiments.Training,
    experiments.Export,
    scoring.DriftLimits,
)
"""Sections with a table of their own."""
HEAD = """# Options

Every key of params.yaml, with its default. This page is generated from the configuration models by `make docs`; a
section is refused when it has a key that is not listed here.
"""


def main() -> None:
    """Write the page and the table."""
    PAGE.write_text(render(), encoding="utf-8")
    before, _, after = DATA_PAGE.read_text(encoding="utf-8").partition(FORMS_HEAD)
    DATA_PAGE.write_text(before + forms() + after[after.index("\n\n") + 1 :], encoding="utf-8")


def render() -> str:
    """Return the page as Markdown."""
    parts = [HEAD, "## datasets\n\nEvery dataset has `domain`, `sources` and the options of its domain.\n"]
    parts += [_table(f"domain: {domain.name}", domain.dataset) for domain in DOMAINS if domain.dataset]
    parts += [_table(f"source of kind {_kind(one)}", one) for one in get_args(get_args(sources.Source)[0])]
    parts.append(_table("expectations of text-like data", sources.RowExpectations))
    parts.append("## tasks\n")
    parts += [
        _table(f"domain: {domain.name}, kind: {_kind(task)}", task) for domain in DOMAINS for task in domain.tasks
    ]
    parts.append(_table("tokenizer", TokenizerConfig))
    parts.append(_table("decoding", DecodingConfig))
    parts += [_table(f"splits of kind {_kind(one)}", one) for one in get_args(get_args(splits.TimeSplits)[0])]
    parts.append(_table("splits of other tasks", splits.ShareSplits))
    parts.append("## experiments\n")
    parts += [_table(f"model of kind {_kind(one)}", one) for one in get_args(get_args(experiments.Model)[0])]
    parts += [_table("layer", experiments.Layer), _table("decoder", experiments.Decoder)]
    parts += [_table("embedding", experiments.Embedding), _table("training", experiments.Training)]
    parts.append(_table("export", experiments.Export))
    parts.append(_table("tune", tuning.Tuning))
    dimensions = get_args(get_args(tuning.Dimension)[0])
    parts += [_table(f"entry of tune.space of kind {_kind(one)}", one) for one in dimensions]
    parts.append("## scoring\n")
    parts += [_table("scoring", scoring.Scoring), _table("drift", scoring.DriftLimits)]
    parts.append(_table("shadow", scoring.Shadow))
    parts.append(_table("engine of kind dask", scoring.DaskEngineConfig))
    parts.append("## promotion\n")
    parts.append(_table("promotion", params.Promotion))
    return "\n".join(parts)


def forms() -> str:
    """Return the table of the forms of files that are read, for training and for scoring."""
    rows = []
    for domain in DOMAINS:
        if domain.dataset:
            endings = ", ".join(f"`{ending}`" for ending in domain.part("dataset").ENDINGS)
            readers = [one.reader for one in domain.part("reader").INTERFACES.values()]
            scored = ", ".join(dict.fromkeys(NAMES[form] for reader in readers for form in reader.forms))
            rows.append(f"| {domain.name} | {endings} | {_first(domain.dataset)} | {scored} |\n")
    return FORMS_HEAD + "".join(rows)


def _first(section: Any) -> str:
    return " ".join((inspect.getdoc(section) or "").split("\n\n")[0].split())


def _table(title: str, section: Any) -> str:
    first = _first(section)
    return "\n".join(
        [f"### {title}\n", f"{first}\n", "| key | value | default | |", "|---|---|---|---|", *_rows(section), ""]
    )


def _rows(section: Any, prefix: str = "") -> list[str]:
    descriptions = _descriptions(section)
    rows = []
    for name, field in section.model_fields.items():
        if name == "domain" or (name == "kind" and section is not TokenizerConfig):
            continue
        if (
            isinstance(field.annotation, type)
            and issubclass(field.annotation, BaseModel)
            and field.annotation not in SHARED
        ):
            rows += _rows(field.annotation, f"{name}.")
            continue
        about = descriptions.get(name, "")
        rows.append(f"| `{prefix}{name}` | {_type(field.annotation, field)} | {_default(field)} | {about} |")
    return rows


def _kind(section: Any) -> str:
    return str(get_args(section.model_fields["kind"].annotation)[0])


def _descriptions(section: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings below the attributes of a class and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(section.__mro__):
        if not base.__module__.startswith("unroll."):
            continue
        body = ast.parse(inspect.getsource(base)).body[0].body  # type: ignore[attr-defined]
        for field, after in itertools.pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                text = " ".join(str(after.value.value).split()).replace("|", r"\|")
                found[ast.unparse(field.target)] = text
    return found


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        return "see below"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return "`null`" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(annotation: Any, field: FieldInfo | None = None) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    bounds = [one for one in (field.metadata if field else []) if isinstance(one, BaseMetadata)]
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        # A bar would end a table's cell.
        return ", ".join(
            f"`{str(one).replace(chr(9), chr(92) + 't').replace('|', chr(92) + '|')}`" for one in arguments
        )
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"mapping to {_type(arguments[1])}"
    if origin is Union or str(origin) == "<class 'types.UnionType'>":
        return " or ".join(dict.fromkeys("null" if one is type(None) else _type(one) for one in arguments))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {str: "text", int: "integer", float: "number", bool: "true, false", JsonValue: "value"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation))) + _bounds(bounds)


def _bounds(bounds: list[BaseMetadata]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    told = [f"{sign} {getattr(one, name)}" for one in bounds for name, sign in signs.items() if hasattr(one, name)]
    return f" {', '.join(told)}" if told else ""


if __name__ == "__main__":
    sys.exit(main())
