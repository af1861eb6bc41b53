"""The back-test: predictions compared with what turned out to be true."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from unroll.domains import domain_of
from unroll.errors import DataError, FormatError
from unroll.inference.card import Card, interface_of
from unroll.inference.writing import METADATA_KEY

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ("row_id", "file")
_TRUTH = "truth"
_MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Model:
    """The model that made a file of predictions.

    Attributes:
        domain: Domain of its task.
        kind: Kind of its task.
        task: Name of its task.
        test: The card's metrics: `metric` (name of the headline metric), `test` and `baseline`.
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
        model: The model.
        figures: Metrics by name, with the names that the card has.
    """

    version: str
    model: Model
    figures: Mapping[str, float]

    def metrics(self) -> dict[str, float]:
        """Return numbers for MLflow: `live.accuracy`, …, and the headline of the test split as `test.accuracy`."""
        found = {f"live.{name}": value for name, value in self.figures.items()}
        name, value = self.model.test.get("metric"), self.model.test.get("test")
        return found | ({f"test.{name}": float(value)} if name and isinstance(value, int | float) else {})

    def lines(self) -> list[str]:
        """Return the headline metric beside that of the test split and its baselines, then the other metrics."""
        headline, test = self.model.test.get("metric"), self.model.test.get("test")
        lines = [f"{self.version}: {self.figures['rows']:,.0f} rows with truth"]
        for name, value in sorted(self.figures.items(), key=lambda one: one[0] != headline):
            beside = ""
            if name == headline and isinstance(test, int | float):
                baselines = self.model.test.get("baseline", {}).items()
                shown = ", ".join(f"{key} {figure:.6g}" for key, figure in baselines if isinstance(figure, int | float))
                beside = f"; on the test split {test:.6g}{f' (baselines: {shown})' if shown else ''}"
            if name != "rows":
                lines.append(f"  {name} {value:.6g}{beside}")
        return lines


@dataclass(frozen=True)
class Unmatched:
    """Rows that could not be compared: their number, and the keys of the first of them."""

    why: str
    rows: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", …" if self.rows > len(self.examples) else ""
        return f"{self.rows:,} {self.why}: {', '.join(self.examples)}{more}"


@dataclass(frozen=True)
class BacktestReport:
    """A back-test.

    Attributes:
        live: One entry a model version, sorted by version.
        unmatched: Rows that were left out, by reason.
    """

    live: tuple[Live, ...]
    unmatched: tuple[Unmatched, ...]

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        return [line for one in self.live for line in one.lines()] + list(map(str, self.unmatched))


def compare_with_truth(
    predictions: Path, truth: Path, *, column: str | None = None, card: Card | None = None
) -> BacktestReport:
    """Compare predictions with the truth.

    Rows are joined on `row_id`, and on `file` (the name of the input file) if the truth has that column. Rows whose key
    occurs more than once on a side are left out and counted, as are rows that the other side lacks.

    Args:
        predictions: A Parquet or CSV file that unroll wrote, or a folder of such.
        truth: A Parquet or CSV file, or a folder of such: row_id and the true value. For prices that is the price
            itself, for labels a list or a text of them, for translations the text.
        column: Column of the true values; by default `truth`, or the only column besides row_id and file.
        card: Card of the model, for predictions that do not name it.

    Raises:
        DataError: A file is missing or lacks a column, no row has a truth, or a truth cannot be compared.
    """
    predicted, models = _predictions(predictions, card)
    true, empty = _truths(truth, column)
    keys = ["row_id", "file"] if "file" in true.columns else ["row_id"]
    known, scored = _index(true, keys), _index(predicted, keys)
    twice, repeated = predicted.duplicated(["model_version", *keys], keep=False), true.duplicated(keys, keep=False)
    left_out = {
        "rows of the truth without a value": empty,
        "predictions whose id occurs more than once": predicted[twice],
        "rows of the truth whose id occurs more than once": true[repeated],
        "predictions without a truth": predicted[~twice & ~scored.isin(known)],
        "rows of the truth without a prediction": true[~repeated & ~known.isin(scored)],
    }
    unmatched = tuple(_unmatched(why, rows, keys) for why, rows in left_out.items() if len(rows))
    both = predicted[~twice].merge(true.loc[~repeated, [*keys, _TRUTH]], on=keys, suffixes=("", "_true"))
    if both.empty:
        raise DataError(
            f"no row of {predictions} has a truth in {truth}: {'; '.join(map(str, unmatched)) or 'both are empty'}; "
            "row_id (and file, if the truth has it) must be those of the predictions"
        )
    live = [
        Live(str(version), models[str(version)], _figures(models[str(version)], rows))
        for version, rows in both.groupby("model_version", sort=True)
    ]
    return BacktestReport(tuple(live), unmatched)


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
    shown = [key for key in reversed(keys) if key in rows.columns]
    first = rows[shown].head(_MAX_EXAMPLES).itertuples(index=False)
    return Unmatched(why, len(rows), tuple(" ".join(map(str, one)) for one in first))


def _predictions(place: Path, card: Card | None) -> tuple["pd.DataFrame", dict[str, Model]]:
    """Read all predictions, with row_id and file as text, and the models that made them, by version."""
    import pandas as pd

    frames: list[pd.DataFrame] = []
    models: dict[str, Model] = {}
    for path in _files(place):
        table, about = _read(path)
        for name in ("row_id", "prediction", "model_version"):
            if name not in table.column_names:
                raise DataError(f"{path} has no column {name!r}, so it is not a file of predictions")
        if "file" not in table.column_names:
            source = str(about.get("source", path.name))
            table = table.append_column("file", pa.array([source] * len(table), pa.string()))
        frames.append(_frame(table, path))
        models |= dict.fromkeys(frames[-1]["model_version"].unique().tolist(), _model(about, card, path))
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
    """Read rows with a true value, and rows without: row_id, file if all files have it, truth."""
    import pandas as pd

    frames = []
    for path in _files(place):
        table, _ = _read(path)
        if "row_id" not in table.column_names:
            raise DataError(f"{path} has no column 'row_id'; it has {', '.join(table.column_names)}")
        others = [name for name in table.column_names if name not in _KEYS]
        name = column or (_TRUTH if _TRUTH in others else others[0] if len(others) == 1 else None)
        if name not in others:
            wanted = f"column {column!r}" if column else f"column {_TRUTH!r}, nor only one besides row_id and file"
            raise DataError(f"{path} has no {wanted}: name the true values with --column; it has {', '.join(others)}")
        kept = table.select([one for one in (*_KEYS, name) if one in table.column_names])
        frames.append(_frame(kept.rename_columns([*kept.column_names[:-1], _TRUTH]), path))
    if len({"file" in frame.columns for frame in frames}) > 1:
        raise DataError(f"some files of {place} have a column 'file', others have none")
    true = pd.concat(frames, ignore_index=True)
    empty = true[_TRUTH].isna()
    return true[~empty], true[empty]


def _files(place: Path) -> list[Path]:
    """Return the tables of a folder; hidden ones, markers and quarantined rows are left out."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(f"{place} does not exist; give a Parquet or CSV file, or a folder of such")
    found = sorted(
        path
        for path in place.rglob("*")
        if path.suffix.lower() in (".parquet", ".csv")
        and path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(place).parts)
        and not path.name.endswith(".quarantine.parquet")
    )
    if not found:
        raise DataError(f"{place} has no Parquet and no CSV files")
    return found


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Read a table, and the metadata that unroll wrote into it."""
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".csv":
                # As text: the id 007 is not the number 7.
                names = pa_csv.open_csv(file).schema.names
                file.seek(0)
                types = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
                return pa_csv.read_csv(file, convert_options=types), {}
            table = pq.ParquetFile(file).read()
        about = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    return table, about if isinstance(about, dict) else {}


def _frame(table: pa.Table, path: Path) -> "pd.DataFrame":
    """Convert a table, with its keys as text, and labels that are whole numbers as such even if they came as floats."""
    import pandas as pd

    if empty := table["row_id"].null_count:
        raise DataError(f"{path}: row_id is missing in {empty:,} rows")
    for place, name in enumerate(table.column_names):
        if name in _KEYS:
            table = table.set_column(place, name, table[name].cast(pa.string()))
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    if _TRUTH in frame and pd.api.types.is_float_dtype(frame[_TRUTH]):
        truth = frame[_TRUTH].dropna()
        if (truth % 1 == 0).all() and (truth.abs() < 2**53).all():
            frame[_TRUTH] = frame[_TRUTH].astype("Int64")
    return frame
