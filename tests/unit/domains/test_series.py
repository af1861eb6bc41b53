"""Series: how files are read, regular times, windows and splits, metrics, the regression, the last steps of a file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from raw_files import read
from sklearn.linear_model import Ridge
from small_networks import randomized

from unroll.domains.series.config import SeriesReading
from unroll.domains.series.metrics import baselines, forecast_scores, live_metrics
from unroll.domains.series.reader import last_steps
from unroll.domains.series.samples import make_samples
from unroll.domains.series.table import by_series, read_series, regular
from unroll.domains.series.task import make_task
from unroll.domains.series.times import Frequency, calendar, frequency_of, periods_of, to_times
from unroll.domains.task import topology_of
from unroll.errors import DataError, FormatError, SplitError
from unroll.inference.card import SeriesInput
from unroll.models.forecasts import ridge
from unroll.training.build import build_model

HOURS = np.datetime64("2024-01-01T00:00:00") + np.arange(48) * np.timedelta64(3600, "s")


def _file(folder: Path, text: str, name: str = "sensor.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("times", "step", "after"),
    [
        (["2024-01-01T00:00", "2024-01-01T00:15", "2024-01-01T00:30"], "15 minutes", "2024-01-01T00:45:00"),
        (["2024-02-27T06:00", "2024-02-28T06:00", "2024-02-29T06:00"], "1 day", "2024-03-01T06:00:00"),
        (np.busday_offset("2024-01-01", range(12)), "1 weekday", "2024-01-17T00:00:00"),
        (["2024-01-07", "2024-01-14", "2024-01-21"], "7 days", "2024-01-28T00:00:00"),
        (["2023-12-01", "2024-01-01", "2024-02-01"], "1 month", "2024-03-01T00:00:00"),
        (["2023-12-31", "2024-01-31", "2024-02-29"], "1 month", "2024-03-31T00:00:00"),
        (["2023-06-30", "2023-09-30", "2023-12-31"], "3 months", "2024-03-31T00:00:00"),
        (["2020-01-01", "2021-01-01", "2022-01-01"], "12 months", "2023-01-01T00:00:00"),
        (["2023-10-30", "2023-11-30", "2023-12-30", "2024-01-30"], "1 month", "2024-02-29T00:00:00"),
        (["1969-12-31T22:00", "1969-12-31T23:00", "1970-01-01T02:00"], "1 hour", "1970-01-01T03:00:00"),
    ],
)
def test_the_step_of_a_series_and_the_time_after_it(times, step, after):
    times = to_times(times)
    frequency = frequency_of([times])
    assert (str(frequency), str(frequency.after(times[-1], 1)[0])) == (step, after)
    index = frequency.index(times)
    assert (np.diff(index, prepend=-1) > 0).all()
    np.testing.assert_array_equal(frequency.after(times[0], int(index[-1]))[index[1:] - 1], times[1:])


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("date,temp\n2024/01/01 00:00,1.5\n2024/01/01 01:00,\n", {}),
        ("temp;when\n1.5;01.01.2024 00:00\nNA;01.01.2024 01:00\n",
         {"time_column": "when", "date_format": "%d.%m.%Y %H:%M"}),
        ("time,temp\n2024-01-01T01:00:00Z,nan\n2024-01-01T00:00:00+00:00,1.5\n", {}),
        ("time,temp\n2024-01-01T01:00:00+01:00,1.5\n2024-01-01T03:00:00+02:00,-99\n", {"ranges": {"temp": [-50, 60]}}),
        ("ds,temp,remark\n2024-01-01 00:00,1.5,dry\n2024-01-01 01:00,,wet\n", {"value_columns": ["temp"]}),
    ],
)  # fmt: skip
def test_one_series_in_many_forms(tmp_path, text, options):
    table = read("series", _file(tmp_path, text), **options).table
    assert table.to_pydict() == {
        "series": ["sensor", "sensor"],
        "time": [HOURS[0].item(), HOURS[1].item()],
        "temp": [1.5, None],
    }


def test_parquet_of_several_series_with_a_time_zone(tmp_path):
    table = pa.table(
        {
            "unique_id": pa.array(["b", "a", "a"]).dictionary_encode(),
            "ds": pa.array(HOURS[[0, 1, 0]], pa.timestamp("us", "Asia/Tokyo")),
            "y": pa.array([3, 2, 1], pa.int32()),
        }
    )
    pq.write_table(table, tmp_path / "all.parquet")
    found, _ = read_series(tmp_path / "all.parquet", SeriesReading())
    assert (found["series"].to_pylist(), found["y"].to_pylist()) == (["a", "a", "b"], [1, 2, 3])
    assert str(found["time"][0]) == "2024-01-01 00:00:00"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when,temp\n2024-01-01,1\n", "no column is called time, date, .*; found when, temp; set `time_column`"),
        ("time,date,temp\n2024-01-01,2024-01-01,1\n", "has the columns time, date; set `time_column`"),
        (
            "time,temp\n03.04.2024,1\n",
            "line 2: the time is '03.04.2024', expected whole seconds in ISO 8601.* need `date_format`",
        ),
        ("time,temp\n2024-01-01,warm\n", "line 2: temp is 'warm', expected a number .* `value_columns`"),
        ("time,temp\n2024-01-01,inf\n", "temp is 'inf', expected a number"),
        ("time,temp\n2024-01-01 00:00:00.1,1\n", "expected whole seconds"),
        ("date,time,temp\n2024-01-01,5,1\n", "has the columns date, time; set `time_column`"),
        ("time,temp\n2024-01-01,1\n2024-01-01,2\n", "two rows of sensor at 2024-01-01.*`series_column`"),
        ("time,temp\n,1\n2024-01-01,2\n", "line 2: the time is '', expected"),
    ],
)
def test_what_is_ambiguous_names_what_decides(tmp_path, text, message):
    with pytest.raises(FormatError, match=message):
        read("series", _file(tmp_path, text))


def test_columns_that_cannot_be_read(tmp_path):
    path = _file(tmp_path, "date,time,temp\n2024-01-01,5,1\n2024-01-02,6,1\n")
    with pytest.raises(FormatError, match="a column of numbers cannot be called 'time'"):
        read("series", path, time_column="date")
    with pytest.raises(FormatError, match="needs one column 'heat'; found date, time, temp"):
        read("series", path, time_column="date", value_columns=["temp"], ranges={"heat": [0, 1]})
    pq.write_table(pa.table({"time": pa.array(HOURS), "made": pa.array(HOURS)}), tmp_path / "x.parquet")
    with pytest.raises(FormatError, match=r"'made' is timestamp.*, expected numbers; name .* in `value_columns`"):
        read("series", tmp_path / "x.parquet")


def test_each_series_has_its_own_phase_and_scale(tiny):
    section = tiny.section("forecast", targets=["load"], inputs=[], known=[], history=8, season=1, start="season",
                           splits={"valid_share": 0.2})  # fmt: skip
    rng = np.random.default_rng(0)
    parts = []
    for name, first, count, size in (("old", "2020-01-06", 120, 1e4), ("phase", "2020-01-08", 120, 1.0),
                                     ("new", "2021-12-27", 17, 5e3)):  # fmt: skip
        times = np.datetime64(f"{first}T00:00:00") + np.arange(count) * np.timedelta64(7 * 86_400, "s")
        parts.append(pa.table({"series": [name] * count, "time": pa.array(times), "load": size * rng.random(count)}))
    samples = make_samples(pa.concat_tables(parts), section, "x")
    (fold,) = samples.folds
    tested = samples.tensors["series"][fold.test]
    assert {int(one): int((tested == one).sum()) for one in np.unique(tested)} == {0: 8, 1: 8, 2: 3}
    for one in range(3):
        assert set(np.diff(samples.tensors["step"][fold.test][tested == one])) == {3}
    scales = [samples.tensors["scale"][fold.test][tested == one].mean() for one in range(3)]
    assert scales[0] > 1e3 > 1 > scales[1] > 0.2
    assert scales[2] > 1e3
    # Each is scaled by itself, however large the others are.
    task = make_task("x", section, samples)
    preprocessing = task.make_preprocessing()
    inputs = torch.from_numpy(samples.tensors["inputs"])
    preprocessing.fit(inputs[fold.train], torch.from_numpy(samples.tensors["targets"])[fold.train])
    small = torch.from_numpy(samples.tensors["series"] == 1)
    assert preprocessing.prepare(inputs[small])[:, :, 0].std() == pytest.approx(1, abs=0.05)


def test_what_never_changed_in_training_and_what_float32_cannot_hold(tiny):
    section = tiny.section("forecast", start="season")
    table = tiny.table("forecast", section)
    at = table.column_names.index("holiday")
    quiet = table.set_column(at, "holiday", pa.array(np.zeros(len(table))))
    samples = make_samples(quiet, section, "x")
    preprocessing = make_task("x", section, samples).make_preprocessing()
    inputs = torch.from_numpy(samples.tensors["inputs"])
    preprocessing.fit(inputs, torch.from_numpy(samples.tensors["targets"]))
    inputs[:, -1, 3] = 1
    assert preprocessing.prepare(inputs).abs().max() < 10
    counter = 2e9 + np.cumsum(np.random.default_rng(0).random(len(table)))
    with pytest.raises(DataError, match=r"'load' has values up to .* too small for float32; give the changes"):
        make_samples(table.set_column(2, "load", pa.array(counter)), section, "x")


def test_gaps_are_reported_and_times_between_steps_refused(tmp_path):
    rows = "".join(f"{time},{number}\n" for number, time in enumerate(HOURS) if number not in (5, 6))
    ingested = read("series", _file(tmp_path, "time,load\n" + rows))
    assert ingested.changes == {"frequency": "1 hour", "gaps": {"sensor": 2}}
    assert "sensor has no row for 2 of 48 times" in ingested.notes
    with pytest.raises(DataError, match=r"48 rows for 52,632 steps \(1 hour\).*; is one of its times wrong\?"):
        read("series", _file(tmp_path, f"time,load\n2018-01-01 00:00,1\n{rows}2018-01-01 01:00,1\n", "reset.csv"))
    with pytest.raises(DataError, match=r"2024-01-02T00:30:00 is not a whole number of steps \(1 hour\)"):
        read("series", _file(tmp_path, f"time,load\n{rows}2024-01-02T00:30:00,1\n", "odd.csv"))


def test_filled_only_where_asked():
    table = pa.table({"time": pa.array(HOURS[[0, 1, 4, 5]]), "load": [None, 2.0, 8.0, None]})
    for fill, expected in (
        ("none", [np.nan, 2, np.nan, np.nan, 8, np.nan]),
        ("previous", [np.nan, 2, 2, 2, 8, np.nan]),
        ("linear", [np.nan, 2, 4, 6, 8, np.nan]),
    ):
        found = regular("x", table, ("load",), Frequency(3600, "seconds"), fill)
        np.testing.assert_array_equal(found.values[:, 0], expected)
        assert found.real[:, 0].tolist() == [False, True, False, False, True, False]


def test_the_calendar_has_the_periods_that_were_seen_twice():
    day = Frequency(86_400, "seconds")
    days = np.datetime64("2024-01-01T00:00:00") + np.arange(800) * np.timedelta64(86_400, "s")
    assert periods_of(HOURS, Frequency(3600, "seconds")) == ()
    assert periods_of(days, day) == ("week", "year")
    assert periods_of(days[:20], day) == ("week",)
    # The 1st of January 2024 was a Monday.
    np.testing.assert_allclose(calendar(days[:8], ("week",))[[0, 7]], [[0, 1], [0, 1]], atol=1e-12)


def test_windows_do_not_tell_what_is_to_come_and_splits_do_not_overlap(tiny):
    section = tiny.section("forecast")
    table = tiny.table("forecast", section)
    samples = make_samples(table, section, "x")
    tensors = samples.tensors
    assert (tensors["inputs"].shape[1:], samples.notes["periods"]) == ((17, 6), ["week"])
    assert not tensors["inputs"][:, 14:, :3].any()
    north = by_series(table)["north"]
    np.testing.assert_array_equal(tensors["inputs"][5, :14, 2], north["wind"].to_numpy()[5:19].astype(np.float32))
    np.testing.assert_array_equal(tensors["inputs"][5, :, 3], north["holiday"].to_numpy()[5:22].astype(np.float32))
    np.testing.assert_array_equal(tensors["targets"][5, :, 1], north["heat"].to_numpy()[19:22].astype(np.float32))
    first, last = tensors["first_time"], tensors["last_time"]
    assert [fold.name for fold in samples.folds] == ["from 2021-06-05", "from 2021-06-17"]
    for fold in samples.folds:
        assert last[fold.train].max() < first[fold.valid].min()
        assert last[fold.valid].max() < first[fold.test].min()
        # Test forecasts of a series do not overlap.
        assert set(np.diff(np.unique(first[fold.test]))) == {3 * 86_400}
    assert not set(samples.folds[0].test) & set(samples.folds[1].test)


def test_windows_with_an_empty_cell_are_left_out_and_counted(tiny):
    section = tiny.section("forecast", season=1)
    table = tiny.table("forecast", section)
    loads = table["load"].to_pylist()
    loads[60] = None
    holed = table.set_column(table.column_names.index("load"), "load", pa.array(loads))
    whole, found = (make_samples(one, section, "x") for one in (table, holed))
    assert found.notes["left_out"] == {"all": {"a gap or an empty cell": 17}}
    assert len(whole.tensors["inputs"]) - len(found.tensors["inputs"]) == 17
    # A filled value is read, but it is neither what is forecast nor the last one: it knows the value after it.
    filled = make_samples(holed, tiny.section("forecast", season=1, fill="linear"), "x")
    assert filled.notes["left_out"] == {"all": {"a gap or an empty cell": 4}}
    with pytest.raises(SplitError, match=r"no series has the 200 steps that history and horizon need$"):
        make_samples(holed, tiny.section("forecast", history=197), "x")
    with pytest.raises(DataError, match=r"tasks\.x needs the column 'rain'; dataset sensors has load, heat"):
        make_samples(holed, tiny.section("forecast", inputs=["rain"]), "x")


def test_scores_by_hand(tiny):
    section = tiny.section("forecast", targets=["load"], inputs=[], known=[], horizon=2)
    rows = {"targets": np.array([[[10.0], [0.0]]]), "scale": np.array([[2.0]])}
    prediction = np.array([[[[8.0, 9.0, 11.0]], [[1.0, 3.0, 4.0]]]])
    found = forecast_scores(prediction, rows, section)
    assert found["mase"] == pytest.approx((1 / 2 + 3 / 2) / 2)
    assert found["smape"] == pytest.approx((200 * 1 / 19 + 200) / 2)
    assert found["coverage_80"] == 0.5
    assert (found["mae"], found["rmse"]) == (2.0, pytest.approx(np.sqrt(5)))
    losses = [0.1 * 2 + 0.5 * 1 + 0.1 * 1, 0.9 * 1 + 0.5 * 3 + 0.1 * 4]
    assert found["pinball"] == pytest.approx(np.mean(losses) / 3 / 2)
    assert [one["mase"] for one in found["by_step"]] == [0.5, 1.5]


def test_live_errors_of_all_steps_and_targets():
    steps = [
        {"time": HOURS[place], "load": 3.0 + place, "load_q10": 0.0, "heat": 1.0, "heat_q10": 0.0} for place in (0, 1)
    ]
    rows = pd.DataFrame({"row_id": ["a", "b"], "prediction": [steps, steps[:1]], "truth": ["3 1 5 1", [3.0, 0.0]]})
    assert live_metrics("forecast", rows) == {"mae": pytest.approx((0 + 0 + 1 + 0 + 0 + 1) / 6)}
    with pytest.raises(DataError, match="row_id a: 2 true values, but 4 were forecast"):
        live_metrics("forecast", rows.assign(truth="1 2"))


def test_baselines_of_a_periodic_series_and_their_quantiles(tiny):
    section = tiny.section("forecast", targets=["load"], inputs=[], known=[])
    table = tiny.table("forecast", section)
    week = np.tile(np.arange(7.0), 40)[: len(table)]
    samples = make_samples(table.set_column(2, "load", pa.array(week)), section, "x")
    found, rows = baselines(samples, section), samples.test_rows()
    for name in ("seasonal_naive", "linear_autoregression"):
        np.testing.assert_allclose(found[name][..., 1], rows["targets"], atol=0.1)
    assert all((np.diff(one, axis=-1) >= -1e-5).all() for one in found.values())
    np.testing.assert_array_equal(found["last_value"][:, 0, 0, 1], rows["inputs"][:, 13, 0])


def test_ridge_takes_the_strength_with_the_least_leave_one_out_error():
    rng = np.random.default_rng(0)
    inputs, noise = rng.normal(size=(40, 12)), rng.normal(0, 3, (40, 2))
    targets = inputs[:, :2] + noise
    weights = ridge(torch.from_numpy(inputs), torch.from_numpy(targets)).numpy()
    errors = {}
    for strength in np.logspace(-4, 4, 17) * 40 / 12:
        fits = [
            Ridge(strength, fit_intercept=False).fit(np.delete(inputs, row, 0), np.delete(targets, row, 0))
            for row in range(40)
        ]
        left_out = [fit.predict(inputs[row : row + 1])[0] for row, fit in enumerate(fits)]
        errors[strength] = np.square(targets - left_out).mean()
    best = min(errors, key=errors.__getitem__)
    np.testing.assert_allclose(weights, Ridge(best, fit_intercept=False).fit(inputs, targets).coef_.T, atol=1e-8)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_decoder_reads_the_past_and_what_is_known_of_the_steps_to_come(tiny, cell):
    task, samples = tiny.task("forecast"), tiny.samples("forecast")
    torch.manual_seed(0)
    network = randomized(build_model(task, tiny.writer(cell, "gru", bidirectional=True)), std=0.3)
    inputs = torch.from_numpy(samples.tensors["inputs"][:4]).requires_grad_()
    output, _ = network.output(inputs)
    assert output.shape == (4, 6, 3)
    (gradient,) = torch.autograd.grad(output[:, 2:4].sum(), inputs)
    reached = gradient.abs().sum(0) > 0
    assert reached[:14, :3].all()
    assert reached[14:, 3].all()
    assert not reached[14:, :3].any()
    assert topology_of(task, tiny.writer(cell, "gru")) == "sequence_to_sequence"


def test_the_last_steps_of_a_file_are_those_of_a_training_window(tiny, tmp_path):
    task, samples = tiny.task("forecast"), tiny.samples("forecast")
    spec = SeriesInput.model_validate(task.details["series"], strict=False)
    table = tiny.table("forecast", tiny.section("forecast"))
    # Of the last three days, only the holidays are known.
    frame = table.to_pandas()
    ahead = frame.groupby("series").cumcount() >= 117
    frame.loc[ahead, ["load", "heat", "wind"]] = np.nan
    frame = frame[(frame["series"] == "north") | (frame.index >= 125)]
    frame.rename(columns={"series": "series_id"}).to_csv(tmp_path / "new.csv", index=False)
    batch = last_steps(tmp_path / "new.csv", spec, SeriesReading())
    assert batch.column("row_id").to_pylist() == ["north@2021-06-25T00:00:00", "south@2021-06-25T00:00:00"]
    assert str(batch.column("times")[0][2]) == "2021-06-28 00:00:00"
    place = np.flatnonzero(samples.tensors["series"] == 0)[-1]
    np.testing.assert_allclose(batch.column("inputs")[0].values, samples.tensors["inputs"][place].ravel(), rtol=1e-6)
    frame.loc[frame.index == 100, "wind"] = np.nan
    frame.loc[frame.index == 119, "holiday"] = np.nan
    frame[frame.index < 112].drop(columns="series").to_csv(tmp_path / "north.csv", index=False)
    frame[frame.index < 130].rename(columns={"series": "series_id"}).to_csv(tmp_path / "both.csv", index=False)
    reasons = last_steps(tmp_path / "north.csv", spec, SeriesReading()).column("reason").to_pylist()
    assert reasons == ["has no value in wind at 2021-06-09T00:00:00"]
    reasons = last_steps(tmp_path / "both.csv", spec, SeriesReading()).column("reason").to_pylist()
    assert reasons == [
        "has no value in holiday at 2021-06-28T00:00:00",
        "has 5 steps of 1 day, the model needs 14",
    ]
