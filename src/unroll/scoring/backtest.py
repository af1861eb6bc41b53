"""The back-test: predictions compared with what turned out to be true."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from unroll.domains import domain_of
from unroll.errors import DataError, FormatError
from unroll.inference.card import Card, interface_of
from unroll.inference.writing import read_metadata

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ("row_id", "file")
_TRUTH = "truth"
_MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Live:
    """Quality of one model version on rows whose truth is known.

    Attributes:
        version: `NAME@SHA12`.
        about: What the files of predictions say of the model: `task` (name, domain and kind), `metrics` (those of the
            card: `metric`, the name of the headline metric, `test` and `baseline`), and perhaps `registered`.
        figures: Metrics by name, with the names that the card has.
    """

    version: str
    about: Mapping[str, Any]
    figures: Mapping[str, float]

    def metrics(self) -> dict[str, float]:
        """Return numbers for MLflow: `live.accuracy`, …, and the headline of the test split as `test.accuracy`."""
        found = {f"live.{name}": value for name, value in self.figures.items()}
        headline, test = self._headline()
        return found if test is None else found | {f"test.{headline}": test}

    def lines(self) -> list[str]:
        """Return the headline metric beside that of the test split and its baselines, then the other metrics."""
        headline, test = self._headline()
        lines = [f"{self.version}: {self.figures['rows']:,.0f} rows with truth"]
        for name, value in sorted(self.figures.items(), key=lambda one: one[0] != headline):
            beside = ""
            if name == headline and test is not None:
                baselines = self.about["metrics"].get("baseline", {}).items()
                shown = ", ".join(f"{key} {figure:.6g}" for key, figure in baselines if isinstance(figure, int | float))
                beside = f"; on the test split {test:.6g}{f' (baselines: {shown})' if shown else ''}"
            if name != "rows":
                lines.append(f"  {name} {value:.6g}{beside}")
        return lines

    def _headline(self) -> tuple[str | None, float | None]:
        metrics = self.about.get("metrics") or {}
        test = metrics.get("test")
        return metrics.get("metric"), float(test) if isinstance(test, int | float) else None


@dataclass(frozen=True)
class Pair:
    """Two model versions, on the rows that both have predicted.

    Attributes:
        rows: Number of those rows.
        versions: The two, `NAME@SHA12`.
        figures: (first, second) by metric: the headline metric, or all if it is unknown.
    """

    rows: int
    versions: tuple[str, str]
    figures: Mapping[str, tuple[float, float]]

    def line(self) -> str:
        """Return one line of text."""
        shown = ", ".join(f"{name} {one:.6g} and {two:.6g}" for name, (one, two) in self.figures.items())
        return f"{self.versions[0]} and {self.versions[1]} on the {self.rows:,} rows of both: {shown}"


@dataclass(frozen=True)
class BacktestReport:
    """A back-test.

    Attributes:
        live: One entry per model version, sorted by version.
        pairs: Model versions that have predicted the same rows.
        unmatched: Rows that were left out: a line for each reason.
    """

    live: tuple[Live, ...]
    pairs: tuple[Pair, ...]
    unmatched: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        return [
            *(line for one in self.live for line in one.lines()),
            *(one.line() for one in self.pairs),
            *self.unmatched,
        ]


def compare_with_truth(
    predictions: Path,
    truth: Path,
    *,
    column: str | None = None,
    card: Card | None = None,
    shadow: Path | None = None,
) -> BacktestReport:
    """Compare predictions with the truth.

    Rows are joined on `row_id`, and on `file` (the name of the input file) if the truth has that column. Rows whose key
    occurs more than once on a side are left out and counted, as are rows that the other side lacks.

    Args:
        predictions: A Parquet or CSV file that unroll wrote, or a folder of them.
        truth: A Parquet or CSV file, or a folder of them: row_id and the true value. For prices that is the price
            itself, for labels a list or a text of them, for translations the text.
        column: Column of the true values; by default `truth`, or the only column besides row_id and file.
        card: Card of the model, for predictions that do not name it.
        shadow: Predictions of another model for the same files; those that `predictions` has, too, are left out.

    Raises:
        DataError: A file is missing or lacks a column, no row has a truth, or a truth cannot be compared.
    """
    import pandas as pd

    predicted, models = _predictions(predictions, card)
    if shadow:
        second, about = _predictions(shadow, card)
        # A challenger that became champion has scored some files twice.
        mine, theirs = (pd.MultiIndex.from_frame(rows[["model_version", *_KEYS]]) for rows in (second, predicted))
        predicted, models = pd.concat([predicted, second[~mine.isin(theirs)]], ignore_index=True), {**about, **models}
    true, empty = _truths(truth, column)
    keys = ["row_id", "file"] if "file" in true.columns else ["row_id"]
    known, scored = (pd.MultiIndex.from_frame(rows[keys]) for rows in (true, predicted))
    twice, repeated = predicted.duplicated(["model_version", *keys], keep=False), true.duplicated(keys, keep=False)
    left_out = {
        "rows of the truth without a value": empty,
        "predictions whose id occurs more than once": predicted[twice],
        "rows of the truth whose id occurs more than once": true[repeated],
        "predictions without a truth": predicted[~twice & ~scored.isin(known)],
        "rows of the truth without a prediction": true[~repeated & ~known.isin(scored)],
    }
    unmatched = tuple(_described(why, rows[keys[::-1]]) for why, rows in left_out.items() if len(rows))
    both = predicted[~twice].merge(true.loc[~repeated, [*keys, _TRUTH]], on=keys, suffixes=("", "_true"))
    if both.empty:
        raise DataError(
            f"no row of {predictions} has a truth in {truth}: {'; '.join(unmatched) or 'both are empty'}; "
            "row_id (and file, if the truth has it) must be those of the predictions"
        )
    live = [
        Live(str(version), models[str(version)], _figures(models[str(version)], rows))
        for version, rows in both.groupby("model_version", sort=True)
    ]
    pairs = (_pair(one, two, both, keys) for one, two in itertools.combinations(live, 2))
    return BacktestReport(tuple(live), tuple(pair for pair in pairs if pair), unmatched)


def _pair(one: Live, two: Live, rows: "pd.DataFrame", keys: list[str]) -> Pair | None:
    """Compare two versions of the same task on the rows of both; None if there are none."""
    import pandas as pd

    if one.about["task"] != two.about["task"]:
        return None
    first, second = (rows[rows["model_version"] == live.version] for live in (one, two))
    indices = [pd.MultiIndex.from_frame(part[keys]) for part in (first, second)]
    first, second = first[indices[0].isin(indices[1])], second[indices[1].isin(indices[0])]
    if first.empty:
        return None
    figures = _figures(one.about, first), _figures(two.about, second)
    headline = (one.about.get("metrics") or {}).get("metric")
    names = [headline] if headline in figures[0] else [name for name in figures[0] if name != "rows"]
    return Pair(len(first), (one.version, two.version), {name: (figures[0][name], figures[1][name]) for name in names})


def _figures(about: Mapping[str, Any], rows: "pd.DataFrame") -> dict[str, float]:
    domain, kind = about["task"]["domain"], about["task"]["kind"]
    metrics = domain_of(domain).part("metrics")
    if not hasattr(metrics, "live_metrics"):
        raise DataError(
            f"a {domain} {kind} model continues a prompt in one of many ways: no text is the only true one, so it has "
            "no back-test"
        )
    return {**metrics.live_metrics(kind, rows), "rows": float(len(rows))}


def _described(why: str, rows: "pd.DataFrame") -> str:
    first = [" ".join(map(str, row)) for row in rows.head(_MAX_EXAMPLES).itertuples(index=False)]
    return f"{len(rows):,} {why}: {', '.join(first)}{', …' if len(rows) > len(first) else ''}"


def _predictions(place: Path, card: Card | None) -> tuple["pd.DataFrame", dict[str, Mapping[str, Any]]]:
    """Read all predictions, with row_id and file as text, and what they say of the models, by version."""
    import pandas as pd

    frames: list[pd.DataFrame] = []
    models: dict[str, Mapping[str, Any]] = {}
    for path in _files(place):
        table, about = _read(path)
        for name in ("row_id", "prediction", "model_version"):
            if name not in table.column_names:
                raise DataError(f"{path} has no column {name!r}, so it is not a file of predictions")
        if "file" not in table.column_names:
            source = str(about.get("source", path.name))
            table = table.append_column("file", pa.array([source] * len(table), pa.string()))
        if card:
            about = {**about, "task": card.task.model_dump(), "metrics": card.metrics}
        task = about.get("task") or {}
        try:
            interface_of(str(task.get("domain")), str(task.get("kind")))
        except ValueError:
            raise DataError(f"{path} does not say which model made its predictions: name it with --model") from None
        frames.append(_frame(table, path))
        models |= dict.fromkeys(frames[-1]["model_version"].unique().tolist(), about)
    return pd.concat(frames, ignore_index=True), models


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
            raise DataError(f"{path} has no {wanted}: name the true column with --column; it has {', '.join(others)}")
        kept = table.select([one for one in (*_KEYS, name) if one in table.column_names])
        frames.append(_frame(kept.rename_columns([*kept.column_names[:-1], _TRUTH]), path))
    if len({"file" in frame.columns for frame in frames}) > 1:
        raise DataError(f"some files of {place} have a column 'file', others do not; add it to all or remove it")
    true = pd.concat(frames, ignore_index=True)
    empty = true[_TRUTH].isna()
    return true[~empty], true[empty]


def _files(place: Path) -> list[Path]:
    """Return the tables of a folder; hidden ones, markers and quarantined rows are left out."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(f"{place} does not exist; give a Parquet or CSV file, or a folder of them")
    found = sorted(
        path
        for path in place.rglob("*")
        if path.suffix.lower() in (".parquet", ".csv")
        and path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(place).parts)
        and not path.name.endswith(".quarantine.parquet")
    )
    if not found:
        raise DataError(f"{place} has neither Parquet nor CSV files")
    return found


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    try:
        with path.open("rb") as file:
            if path.suffix.lower() != ".csv":
                table = pq.ParquetFile(file).read()
                return table, read_metadata(table.schema)
            # As text: the id 007 is not the number 7.
            names = pa_csv.open_csv(file).schema.names
            file.seek(0)
            types = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
            return pa_csv.read_csv(file, convert_options=types), {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error


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
