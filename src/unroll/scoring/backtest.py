"""The back-test: what was predicted, beside what turned out to be true."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from unroll.domains import domain_of
from unroll.errors import DataError, FormatError
from unroll.inference.card import Card, interface_of
from unroll.inference.writing import METADATA_KEY

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ("row_id", "file")
_VALUE = "truth"
_SHOWN = 3


@dataclass(frozen=True)
class Model:
    """What a file of predictions says of the model that made it.

    Attributes:
        domain: Domain of its task.
        kind: Kind of its task.
        task: Name of its task.
        test: The card's metrics: `metric` (the headline's name), `test` and `baseline`.
        registered: Name, version and run_id in the registry, if it came from there.
    """

    domain: str
    kind: str
    task: str
    test: Mapping[str, Any]
    registered: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Live:
    """Quality of one model version on rows whose truth is known.

    Attributes:
        version: `NAME@SHA12`.
        model: What is known of it.
        figures: By name; those of the card's metrics have the same names.
    """

    version: str
    model: Model
    figures: Mapping[str, float]

    def metrics(self) -> dict[str, float]:
        """Numbers for MLflow: `live.accuracy`, …, and the test split's headline as `test.accuracy`."""
        found = {f"live.{name}": value for name, value in self.figures.items()}
        name, value = self.model.test.get("metric"), self.model.test.get("test")
        return found | ({f"test.{name}": float(value)} if name and isinstance(value, int | float) else {})

    def lines(self) -> list[str]:
        """The headline beside the test split's and the baselines', then the other figures."""
        metric = self.model.test.get("metric")
        lines = [f"{self.version}: {self.figures['rows']:,.0f} rows with truth"]
        for name, value in sorted(self.figures.items(), key=lambda one: one[0] != metric):
            if name == "rows":
                continue
            beside = ""
            if name == metric and isinstance(self.model.test.get("test"), int | float):
                others = self.model.test.get("baseline", {}).items()
                told = [f"{other} {figure:.6g}" for other, figure in others if isinstance(figure, int | float)]
                beside = f"; on the test split {self.model.test['test']:.6g}" + (
                    f" (baselines: {', '.join(told)})" if told else ""
                )
            lines.append(f"  {name} {value:.6g}{beside}")
        return lines


@dataclass(frozen=True)
class Unmatched:
    """Rows that could not be compared: how many, and the first of them."""

    why: str
    rows: int
    examples: tuple[str, ...]

    def line(self) -> str:
        """In words."""
        more = ", …" if self.rows > len(self.examples) else ""
        return f"{self.rows:,} {self.why}: {', '.join(self.examples)}{more}"


@dataclass(frozen=True)
class BacktestReport:
    """A back-test.

    Attributes:
        live: One for each model version, by its name.
        left: Rows that were left out, by reason; none is dropped unsaid.
    """

    live: tuple[Live, ...]
    left: tuple[Unmatched, ...]

    def lines(self) -> list[str]:
        """What is to be said, line by line."""
        return [line for one in self.live for line in one.lines()] + [one.line() for one in self.left]


def compare_with_truth(
    predictions: Path, truth: Path, *, column: str | None = None, card: Card | None = None
) -> BacktestReport:
    """Holds predictions against the truth.

    Rows are joined on row_id, and on `file` where the truth has such a column: the name of the input, as the
    predictions' own column or what their file says of itself. An id that stands more than once on a side tells nothing:
    all its rows are left out and counted, as are rows that the other side lacks.

    Args:
        predictions: A Parquet or CSV file that unroll wrote, or a folder of such.
        truth: A Parquet or CSV file, or a folder of such: row_id and what is true. Of price models that is the price
            itself, of labels a list or a text of them, of translations the text.
        column: What is true; by default `truth`, or the only column besides row_id and file.
        card: Of the model, where the predictions' files do not tell of it.

    Raises:
        DataError: A file is missing or lacks a column, no row has a truth, or a truth cannot be compared.
    """
    said, models = _predictions(predictions, card)
    true, missing = _truths(truth, column)
    keys = ["row_id", "file"] if "file" in true.columns else ["row_id"]
    left = [_unmatched("rows of the truth without a value", missing, keys)]
    # An id that is there twice is not missing on its side.
    known, told = _index(true, keys), _index(said, keys)
    twice = said.duplicated(["model_version", *keys], keep=False)
    left.append(_unmatched("predictions whose id stands there more than once", said[twice], keys))
    said = said[~twice]
    repeated = true.duplicated(keys, keep=False)
    left.append(_unmatched("rows of the truth whose id stands there more than once", true[repeated], keys))
    left.append(_unmatched("predictions without a truth", said[~_index(said, keys).isin(known)], keys))
    true = true[~repeated]
    left.append(_unmatched("rows of the truth without a prediction", true[~_index(true, keys).isin(told)], keys))
    both = said.merge(true[[*keys, _VALUE]], on=keys, how="inner", suffixes=("", "_true"))
    left = [one for one in left if one.rows]
    if both.empty:
        raise DataError(
            f"no row of {predictions} has a truth in {truth}: "
            + ("; ".join(one.line() for one in left) or "both are empty")
            + "; row_id (and file, where the truth has it) must be those of the predictions"
        )
    live = []
    for version, rows in both.groupby("model_version", sort=True):
        model = models[str(version)]
        live.append(Live(str(version), model, _figures(model, rows)))
    return BacktestReport(tuple(live), tuple(left))


def _figures(model: Model, rows: "pd.DataFrame") -> dict[str, float]:
    metrics = domain_of(model.domain).part("metrics")
    if not hasattr(metrics, "live_metrics"):
        raise DataError(
            f"a {model.domain} {model.kind} model continues a prompt in one of many ways: no text is the truth, so it "
            "has no back-test"
        )
    return {**metrics.live_metrics(model.kind, rows), "rows": float(len(rows))}


def _index(rows: "pd.DataFrame", keys: Sequence[str]) -> Any:
    import pandas as pd

    return pd.MultiIndex.from_frame(rows[list(keys)])


def _unmatched(why: str, rows: "pd.DataFrame", keys: Sequence[str]) -> Unmatched:
    there = [key for key in reversed(keys) if key in rows.columns]
    first = rows[there].head(_SHOWN).itertuples(index=False)
    return Unmatched(why, len(rows), tuple(" ".join(map(str, one)) for one in first))


def _predictions(place: Path, card: Card | None) -> tuple["pd.DataFrame", dict[str, Model]]:
    """All rows with row_id and file as text, and the models that made them, by version."""
    import pandas as pd

    frames: list[pd.DataFrame] = []
    models: dict[str, Model] = {}
    for path in _files(place):
        table, about = _read(path)
        for name in ("row_id", "prediction", "model_version"):
            if name not in table.column_names:
                raise DataError(f"{path} has no column {name!r}, so it holds no predictions of unroll's")
        frame = _frame(table, path, str(about.get("source", path.name)))
        model = _model(about, card, path)
        models |= dict.fromkeys(frame["model_version"].unique().tolist(), model)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True), models


def _model(about: Mapping[str, Any], card: Card | None, path: Path) -> Model:
    registered = about.get("registered")
    if card:
        return Model(card.task.domain, card.task.kind, card.task.name, card.metrics, registered)
    task = about.get("task") or {}
    domain, kind = str(task.get("domain")), str(task.get("kind"))
    try:
        interface_of(domain, kind)
    except ValueError:
        raise DataError(f"{path} does not say which model made its predictions: name it with --model") from None
    return Model(domain, kind, str(task.get("name")), about.get("metrics") or {}, registered)


def _truths(place: Path, column: str | None) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Rows with a truth, and rows without: row_id, file where all files have it, truth."""
    import pandas as pd

    frames = []
    for path in _files(place):
        table, _ = _read(path)
        if "row_id" not in table.column_names:
            raise DataError(f"{path} has no column 'row_id'; it has {', '.join(table.column_names)}")
        others = [name for name in table.column_names if name not in _KEYS]
        name = column or (_VALUE if _VALUE in others else others[0] if len(others) == 1 else None)
        if name not in others:
            wanted = f"column {column!r}" if column else f"column {_VALUE!r}, nor only one besides row_id and file"
            raise DataError(f"{path} has no {wanted}: name what is true with --column; it has {', '.join(others)}")
        kept = table.select([one for one in (*_KEYS, name) if one in table.column_names])
        frames.append(_frame(kept.rename_columns([_VALUE if one == name else one for one in kept.column_names]), path))
    if len({"file" in frame.columns for frame in frames}) > 1:
        raise DataError(f"some files of {place} have a column 'file', and some have none")
    true = pd.concat(frames, ignore_index=True)
    empty = true[_VALUE].isna()
    return true[~empty], true[empty]


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        inside = (path for path in place.rglob("*") if path.suffix.lower() in (".parquet", ".csv"))
        hidden = (".", "_")
        found = sorted(
            path
            for path in inside
            if path.is_file()
            and not any(part.startswith(hidden) for part in path.relative_to(place).parts)
            # Rows that were set aside have no prediction.
            and not path.name.endswith(".quarantine.parquet")
        )
        if not found:
            raise DataError(f"{place} holds no Parquet and no CSV files")
        return found
    if not place.is_file():
        raise DataError(f"{place} is not there; give a Parquet or CSV file, or a folder of such")
    return [place]


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """A file's table, and what it says of itself."""
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".csv":
                # As text: an id such as 007 is not the number 7.
                names = pa_csv.open_csv(file).schema.names
                file.seek(0)
                types = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
                return pa_csv.read_csv(file, convert_options=types), {}
            table = pq.ParquetFile(file).read()
        about = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    return table, about if isinstance(about, dict) else {}


def _frame(table: pa.Table, path: Path, source: str | None = None) -> "pd.DataFrame":
    """With ids as text, `file` where it is known, and whole numbers that came as floats whole again."""
    empty = table["row_id"].null_count
    if empty:
        raise DataError(f"{path}: row_id is missing in {empty:,} rows")
    columns = {}
    for name in table.column_names:
        column = table[name]
        if name in _KEYS:
            column = column.cast(pa.string())
        elif pa.types.is_floating(column.type) and name == _VALUE and _all_whole(column):
            column = column.cast(pa.int64())
        columns[name] = column
    if source is not None and "file" not in columns:
        columns["file"] = pa.array([source] * len(table), pa.string())
    frame: pd.DataFrame = pa.table(columns).to_pandas(types_mapper={pa.int64(): _nullable_int()}.get)
    return frame


def _all_whole(column: pa.ChunkedArray) -> bool:
    finite = pc.all(pc.is_finite(column)).as_py()
    return bool(finite and pc.all(pc.and_(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), 2**53))).as_py())


def _nullable_int() -> Any:
    import pandas as pd

    # So that whole numbers stay whole where one is missing.
    return pd.Int64Dtype()
