"""Predictions of texts: in the file's order, each by itself, and every row accounted for."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.config.decoding import DecodingConfig
from unroll.errors import BundleError, DataError, ParameterError, UnrollError
from unroll.inference import file_scorer
from unroll.inference.bundle import load_bundle
from unroll.inference.feeds import feed, pieces
from unroll.inference.file_scorer import Scored
from unroll.inference.predict import predict
from unroll.inference.readers import open_file
from unroll.inference.scorer import Scorer
from unroll.inference.writing import METADATA_KEY


def some_texts(count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(tiny_bundles.WORDS, k=chance.randint(1, 6))) for _ in range(count)]


def text_file(path: Path, texts: list[Any], **columns: Any) -> Path:
    pq.write_table(pa.table({**columns, "text": pa.array(texts, pa.string())}), path)
    return path


def scored(model: Path, path: Path, **options: Any) -> tuple[pa.Table, Scored]:
    (one,) = predict(model, path, path.parent / "out", **options).files
    return pq.read_table(one.output), one


def about(path: Path) -> dict[str, Any]:
    return json.loads(pq.read_schema(path).metadata[METADATA_KEY])


def mean_class(text: str) -> int:
    """What the tiny classifier takes a text for."""
    places = [tiny_bundles.WORDS.index(word) for word in text.split()]
    return int(np.abs(np.mean(places) - np.arange(3)).argmin())


@pytest.mark.parametrize("labels", [("low", "middle", "high"), None])
def test_a_class_has_its_name_or_its_number(tmp_path: Path, labels: tuple[str, ...] | None) -> None:
    model = tiny_bundles.classifier(tmp_path / "model", labels)
    texts = some_texts(200)
    out, _ = scored(model, text_file(tmp_path / "t.parquet", texts), batch_rows=7)
    found = [mean_class(text) for text in texts]
    assert out["prediction"].to_pylist() == ([labels[one] for one in found] if labels else found)
    assert out["prediction"].type == (pa.string() if labels else pa.int64())
    assert out["row_id"].to_pylist() == list(range(200))
    assert [field.name for field in out.schema] == ["row_id", "prediction", "score", "model_version"]
    assert all(1 / 3 <= one <= 1 for one in out["score"].to_pylist())


@pytest.mark.parametrize(("batch_rows", "threads"), [(1, 1), (1, 3), (5, 2), (64, 2), (1000, 1)])
@pytest.mark.parametrize("maker", [tiny_bundles.classifier, tiny_bundles.translator, tiny_bundles.writer])
def test_neither_batch_nor_threads_nor_neighbours_change_a_row(
    tmp_path: Path, maker: Any, batch_rows: int, threads: int
) -> None:
    model = maker(tmp_path / "model")
    texts = some_texts(90)
    texts[13] = texts[70] = ""
    path = text_file(tmp_path / "t.parquet", texts, row_id=np.arange(90)[::-1])
    decoding = (
        DecodingConfig()
        if maker is tiny_bundles.classifier
        else DecodingConfig(n_best=2, **({"seed": 5} if maker is tiny_bundles.writer else {}))
    )
    out, one = scored(model, path, batch_rows=batch_rows, threads=threads, decoding=decoding)
    kept = [row for row in range(90) if texts[row]]
    assert out["row_id"].to_pylist() == [89 - row for row in kept]
    assert one.set_aside is not None
    assert (one.rows, one.set_aside.rows) == (88, 2)
    # Each row as it is when it is scored all alone.
    bundle = load_bundle(model)
    alone = Scorer(bundle, batch_rows=1, decoding=decoding)
    (batch,) = open_file(path, bundle, 1000)
    rows = [alone.score(batch.slice(row, 1)) for row in kept]
    assert out.equals(pa.Table.from_batches(rows))


def test_rows_of_like_length_go_together_and_padding_stays_small(tmp_path: Path) -> None:
    bundle = load_bundle(tiny_bundles.classifier(tmp_path / "model", max_tokens=40))
    chance = random.Random(1)
    texts = [" ".join("a" * chance.randint(1, 40)) for _ in range(320)]
    (batch,) = open_file(text_file(tmp_path / "t.parquet", texts), bundle, 20)
    cuts = list(pieces(batch, 20))
    assert sorted(np.concatenate(cuts).tolist()) == list(range(320))
    feeds = [feed(batch.take(pa.array(cut)), bundle.card, None) for cut in cuts]
    cells = sum(one["inputs"].size for one in feeds)
    assert sum(int(one["lengths"].sum()) for one in feeds) > 0.93 * cells
    for one in feeds:
        assert one["inputs"].dtype == one["lengths"].dtype == np.int64
        inside = np.arange(one["inputs"].shape[1]) < one["lengths"][:, None]
        assert np.array_equal(one["inputs"] != 0, inside)  # padded on the right


def test_the_count_of_rows_balances_and_is_kept_in_both_files(tmp_path: Path) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    texts = ["a", "", "a b c d e f g h", None, "b"]
    out, one = scored(model, text_file(tmp_path / "t.parquet", texts, row_id=[f"r{i}" for i in range(5)]))
    assert out["row_id"].to_pylist() == ["r0", "r2", "r4"]
    assert one.set_aside is not None
    assert one.set_aside.output == tmp_path / "out/t.quarantine.parquet"
    assert pq.read_table(one.set_aside.output).to_pylist() == [
        {"row_id": "r1", "text": "", "reason": "the text is empty"},
        {"row_id": "r3", "text": None, "reason": "the text is missing"},
    ]
    assert one.notes() == [
        f"2 rows set aside in {one.set_aside.output}; the first is r1: the text is empty",
        "1 rows cut to the length that the model reads",
    ]
    for path in (one.output, one.set_aside.output):
        found = about(path)
        assert (found["rows"], found["set_aside"], found["cut"], found["source"]) == (3, 2, 1, "t.parquet")


def test_rows_that_get_lost_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    path = text_file(tmp_path / "t.parquet", ["a", ""])
    monkeypatch.setattr(file_scorer, "set_aside", lambda batch: batch.slice(0, 0))
    with pytest.raises(UnrollError, match=r"2 rows were read, but \{'rows': 1, 'set_aside': 0\}"):
        scored(model, path)
    assert not list((tmp_path / "out").iterdir())


def test_a_file_without_a_row_to_score_is_an_error(tmp_path: Path) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    path = text_file(tmp_path / "t.parquet", ["", None])
    with pytest.raises(DataError, match="none of 2 rows can be scored; the first is 0: the text is empty"):
        scored(model, path)
    assert not list((tmp_path / "out").iterdir())


def test_a_quarantine_of_an_earlier_run_goes_away(tmp_path: Path) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    scored(model, text_file(tmp_path / "t.parquet", ["a", ""]))
    assert (tmp_path / "out/t.quarantine.parquet").exists()
    scored(model, text_file(tmp_path / "t.parquet", ["a", "b"]))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["t.parquet"]


def test_no_quarantine_stands_in_the_way_of_a_prediction(tmp_path: Path) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    (tmp_path / "in").mkdir()
    text_file(tmp_path / "in/t.parquet", ["a", ""])
    text_file(tmp_path / "in/t.quarantine.parquet", ["a"])
    with pytest.raises(DataError, match=r"would both be written to .*t\.quarantine\.parquet"):
        predict(model, tmp_path / "in", tmp_path / "out")
    text_file(tmp_path / "u.quarantine.parquet", ["a"])
    with pytest.raises(DataError, match=r"none of|would replace the input"):
        predict(model, tmp_path / "u.quarantine.parquet", tmp_path)


def test_a_failure_in_the_middle_leaves_neither_file(tmp_path: Path) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    (tmp_path / "t.txt").write_bytes(b"a\n\n" * 200 + b"\xff\n")
    with pytest.raises(DataError, match="byte 0xff"):
        scored(model, tmp_path / "t.txt", batch_rows=1)
    assert not list((tmp_path / "out").iterdir())


def test_translations_and_the_best_of_them(tmp_path: Path) -> None:
    model = tiny_bundles.translator(tmp_path / "model")
    texts = ["a b c", "h", "d e f g h"]
    out, one = scored(model, text_file(tmp_path / "t.parquet", texts))
    assert out["prediction"].to_pylist() == texts
    assert [field.name for field in out.schema] == ["row_id", "prediction", "score", "model_version"]
    decoding = DecodingConfig(n_best=3, length_penalty=0.5, max_length=4)
    out, one = scored(model, text_file(tmp_path / "t.parquet", texts), decoding=decoding)
    assert out["prediction"].to_pylist() == ["a b c", "h", "d e f g"]
    best = out["n_best"].to_pylist()
    assert [answer["text"] for answer in best[0]] == ["a b c", "a b", "a"]
    assert [answer["score"] for answer in best[0]] == [0, -0.5, -1]
    told = about(one.output)["decoding"]
    assert (told["beams"], told["n_best"], told["max_length"]) == (3, 3, 4)


def test_what_is_drawn_depends_on_seed_and_row_alone(tmp_path: Path) -> None:
    model = tiny_bundles.writer(tmp_path / "model")
    path = text_file(tmp_path / "t.parquet", ["a"] * 60)
    first, _ = scored(model, path, decoding=DecodingConfig(seed=1), batch_rows=7)
    again, _ = scored(model, path, decoding=DecodingConfig(seed=1, n_best=3))
    other, _ = scored(model, path, decoding=DecodingConfig(seed=2))
    longer, _ = scored(model, path, decoding=DecodingConfig(seed=1, max_length=9))
    texts = first["prediction"].to_pylist()
    assert texts == again["prediction"].to_pylist()
    assert texts != other["prediction"].to_pylist()
    assert all(one.startswith(f"{text} ") for one, text in zip(longer["prediction"].to_pylist(), texts, strict=True))
    assert len(set(texts)) > 50
    assert {len(row) for row in again["n_best"].to_pylist()} == {3}
    # A row before it that cannot be scored does not change a row's number.
    holed, _ = scored(model, text_file(tmp_path / "t.parquet", ["", *["a"] * 59]), decoding=DecodingConfig(seed=1))
    assert holed["prediction"].to_pylist() == texts[1:]


def test_a_prompt_has_its_first_token(tmp_path: Path) -> None:
    model = tiny_bundles.writer(tmp_path / "model", temperature=0.0)
    out, _ = scored(model, text_file(tmp_path / "t.parquet", ["a b"]))
    assert out["prediction"].to_pylist() == ["a a a a a"]  # no uniforms in a search
    assert out["score"].to_pylist() == [-(4 + 6 + 7)]


def test_tags_are_as_many_as_tokens(tmp_path: Path) -> None:
    model = tiny_bundles.tagger(tmp_path / "model")
    sentences = [["a", "b", "zz"], ["b"], [], ["a"] * 9]
    pq.write_table(pa.table({"tokens": sentences}), tmp_path / "t.parquet")
    out, one = scored(model, tmp_path / "t.parquet")
    # a: 6 + letter 6; b: 7 + letter 7; zz: unknown, and so are both of its letters.
    a, b, unknown = (tiny_bundles.TAGS[number % 3] for number in (12, 14, 3))
    assert out["prediction"].to_pylist() == [[a, b, unknown], [b], [a] * 6]
    assert out["prediction"].type == pa.list_(pa.string())
    assert out["score"].to_pylist() == [0.5] * 3
    assert (one.cut, one.set_aside and one.set_aside.rows) == (1, 1)
    assert pq.read_table(tmp_path / "out/t.quarantine.parquet")["text"].to_pylist() == [""]


def test_hostile_cells_are_text_like_any_other(tmp_path: Path) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    texts = [
        "<eos> [PAD]",
        "=1+1",
        "\x00",
        "\u202e\u0301",
        "a" * 100_000,
        "x " * 50_000,
        "'; DROP TABLE",
        "\ufffe",
        "𝒳",
    ]
    out, one = scored(model, text_file(tmp_path / "t.parquet", texts))
    assert one.rows + (one.set_aside.rows if one.set_aside else 0) == len(texts)
    assert one.rows >= len(texts) - 2
    assert np.isfinite(out["score"].to_numpy()).all()


def test_a_label_without_a_name_is_the_bundles_fault(tmp_path: Path) -> None:
    model = tiny_bundles.tagger(tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps(card | {"labels": ["O"]}))
    tiny_bundles.seal(model)
    with pytest.raises(BundleError, match="gives a label outside 0 to 0, for which the card has no name"):
        scored(model, text_file(tmp_path / "t.parquet", ["b a"]))


def test_decoding_are_looked_at_before_anything_is_written(tmp_path: Path) -> None:
    model = tiny_bundles.classifier(tmp_path / "model")
    with pytest.raises(ParameterError, match="writes no text"):
        scored(model, text_file(tmp_path / "t.parquet", ["a"]), decoding=DecodingConfig(beams=2))
    assert not (tmp_path / "out").exists()
