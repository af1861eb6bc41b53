"""What a table of daily prices has to keep."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.prices import scale as price_scale
from unroll.domains.prices.config import PriceDataset, PriceExpectations
from unroll.domains.prices.dataset import PRICES, SCHEMA
from unroll.validation.expectations import Check, schema_check, schema_frame

if TYPE_CHECKING:
    import pandas as pd

_EXPECTED = SCHEMA.append(pa.field("split", pa.string()))


def expectations(table: pa.Table, dataset: str, section: PriceDataset) -> tuple[dict[str, "pd.DataFrame"], list[Check]]:
    """Frames and what they have to keep, for `unroll.validation.expectations.validate`.

    Args:
        table: Sorted by ticker and date. Where its columns or types are not the expected ones, they alone are checked.
        dataset: Its name in params.yaml, for the messages.
        section: From params.yaml.
    """
    columns = schema_frame(table.schema, _EXPECTED)
    if table.schema.remove_metadata() != _EXPECTED:
        return {"columns": columns}, [schema_check()]
    stretches = price_scale.find(table)
    frames = {"columns": columns, "prices": _derive(table, stretches)}
    return frames, [schema_check(), *_checks(dataset, section.expectations, stretches)]


def _derive(table: pa.Table, stretches: list[price_scale.OtherScale]) -> "pd.DataFrame":
    """One row a day, with what depends on other rows.

    Adds weekday (0 = Monday), days_since_previous (calendar days, of the same ticker; null in its first row),
    daily_move (close / previous close − 1, 1 = 100 %) and close_scale (1, or the ratio of a stretch whose closes are
    on another scale).
    """
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    frame["date"] = pd.to_datetime(frame["date"])
    frame["weekday"] = frame["date"].dt.day_of_week
    by_ticker = frame.groupby("ticker", sort=False)
    frame["days_since_previous"] = by_ticker["date"].diff().dt.days
    frame["daily_move"] = frame["close"] / by_ticker["close"].shift() - 1
    frame["close_scale"] = 1.0
    for stretch in stretches:
        frame.loc[stretch.start : stretch.start + stretch.rows - 1, "close_scale"] = stretch.ratio
    return frame


def _checks(dataset: str, bounds: PriceExpectations, stretches: list[price_scale.OtherScale]) -> list[Check]:
    row = ("ticker", "date")

    def about(what: str, kind: str, show: tuple[str, ...] = (), explain: str = "", **options: Any) -> Check:
        values = ", ".join(f"{name} {{{name}}}" for name in show)
        example = "{ticker} {date}" + (f": {values}" if values else "")
        return Check(what=what, frame="prices", kind=kind, options=options, example=example, explain=explain)

    def between(what: str, column: str, explain: str = "", **options: Any) -> Check:
        return about(what, "ExpectColumnValuesToBeBetween", (column,), explain, column=column, **options)

    def at_most(lower: str, upper: str) -> Check:
        kind = "ExpectColumnPairValuesAToBeGreaterThanB"
        return about(f"{lower} ≤ {upper}", kind, (lower, upper), column_A=upper, column_B=lower, or_equal=True)

    move, gap = bounds.max_daily_move, bounds.max_gap_days
    key = f"datasets.{dataset}.expectations"
    other_scale = "; ".join(str(stretch) for stretch in stretches[:3])
    other_scale += f"; and {len(stretches) - 3} stretches more" if len(stretches) > 3 else ""
    other_scale += f"; `rescale_close: true` under datasets.{dataset} in params.yaml divides it, on record"
    return [
        *(about(f"{name} is never empty", "ExpectColumnValuesToNotBeNull", column=name) for name in (*row, *PRICES)),
        about(
            "close is on the scale of open, high and low",
            "ExpectColumnValuesToBeInSet",
            ("open", "high", "low", "close"),
            other_scale,
            column="close_scale",
            value_set=[1.0],
        ),
        about(
            "one row a ticker and date",
            "ExpectCompoundColumnsToBeUnique",
            ("close",),
            "remove the repeated rows from the source",
            column_list=list(row),
        ),
        # Ingest sorts; this holds for a table that came another way. Equal dates are the line above.
        between("dates increase", "days_since_previous", min_value=0),
        between("no rows on weekends", "weekday", max_value=4),
        *(between(f"{name} > 0", name, min_value=0, strict_min=True) for name in (*PRICES, "adj_close")),
        *(at_most(*pair) for pair in (("low", "open"), ("low", "close"), ("open", "high"), ("close", "high"))),
        about(
            f"no daily move of close beyond {100 * move:.4g} %",
            "ExpectColumnValuesToBeBetween",
            ("close", "daily_move"),
            f"{key}.max_daily_move is the bound",
            column="daily_move",
            min_value=-move,
            max_value=move,
        ),
        between(
            f"no hole beyond {gap} days",
            "days_since_previous",
            f"{key}.max_gap_days is the bound",
            max_value=gap,
        ),
        between("volume ≥ 0", "volume", min_value=0),
    ]
