"""Predictions of texts: in the file's order, each by itself, and every row accounted for."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from in_process import score

from unroll.config.decoding import DecodingConfig
from unroll.errors import BundleError
from unroll.inference import stream
from unroll.inference.batches import open_file
from unroll.inference.bundle import load_bundle
from unroll.inference.feeds import feed, pieces
from unroll.inference.scorer import Scorer


def some_texts(count, seed=0):
    generator = random.Random(seed)
    return [" ".join(generator.choices(tiny_bundles.WORDS, k=generator.randint(1, 6))) for _ in range(count)]


def text_file(path, texts, **columns):
    pq.write_table(pa.table({**columns, "text": pa.array(texts, pa.string())}), path)
    return path


def mean_class(text):
    """Class that the tiny classifier gives a text."""
    places = [tiny_bundles.WORDS.index(word) for word in text.split()]
    return int(np.abs(np.mean(places) - np.arange(3)).argmin())


def test_a_class_has_its_name(tmp_path):
    model = tiny_bundles.classifier(tmp_path / "model")
    texts = some_texts(200)
    out = score(model, text_file(tmp_path / "t.parquet", texts), batch_rows=7).output
    assert out["prediction"].to_pylist() == [("low", "middle", "high")[mean_class(text)] for text in texts]
    assert out["row_id"].to_pylist() == list(range(200))
    assert [field.name for field in out.schema] == ["row_id", "prediction", "score", "model_version"]
    assert all(1 / 3 <= one <= 1 for one in out["score"].to_pylist())


@pytest.mark.parametrize(
    ("maker", "batch_rows", "threads"),
    [
        (tiny_bundles.classifier, 1, 1),
        (tiny_bundles.classifier, 64, 2),
        (tiny_bundles.translator, 5, 2),
        (tiny_bundles.writer, 1, 3),
        (tiny_bundles.writer, 1000, 1),
    ],
)
def test_neither_batch_nor_threads_nor_neighbors_change_a_row(tmp_path, maker, batch_rows, threads):
    model = maker(tmp_path / "model")
    texts = some_texts(90)
    texts[13] = texts[70] = ""
    path = text_file(tmp_path / "t.parquet", texts, row_id=np.arange(90)[::-1])
    settings = {"translator": {"n_best": 2}, "writer": {"n_best": 2, "seed": 5}}.get(maker.__name__)
    decoding = DecodingConfig(**settings) if settings else None
    result = score(model, path, batch_rows=batch_rows, threads=threads, decoding=decoding)
    kept = [row for row in range(90) if texts[row]]
    assert result.output["row_id"].to_pylist() == [89 - row for row in kept]
    assert (result.found["rows_scored"], result.found["rows_quarantined"]) == (88, 2)
    # Each row as it is when it is scored all alone.
    bundle = load_bundle(model)
    alone = Scorer(bundle, batch_rows=1, decoding=decoding)
    (batch,) = open_file(path, bundle, 1000)
    rows = [alone.score(batch.slice(row, 1)) for row in kept]
    assert result.output.equals(pa.Table.from_batches(rows))


def test_rows_of_like_length_go_together_and_padding_stays_small(tmp_path):
    bundle = load_bundle(tiny_bundles.classifier(tmp_path / "model", max_tokens=40))
    generator = random.Random(1)
    texts = [" ".join("a" * generator.randint(1, 40)) for _ in range(320)]
    (batch,) = open_file(text_file(tmp_path / "t.parquet", texts), bundle, 20)
    cuts = list(pieces(batch, bundle.card, 20))
    assert sorted(np.concatenate(cuts).tolist()) == list(range(320))
    feeds = [feed(batch.take(pa.array(cut)), bundle.card, None) for cut in cuts]
    cells = sum(one["inputs"].size for one in feeds)
    assert sum(int(one["lengths"].sum()) for one in feeds) > 0.93 * cells
    for one in feeds:
        assert one["inputs"].dtype == one["lengths"].dtype == np.int64
        inside = np.arange(one["inputs"].shape[1]) < one["lengths"][:, None]
        assert np.array_equal(one["inputs"] != 0, inside)  # padded on the right


def test_the_count_of_rows_balances_and_is_kept_in_both_files(tmp_path):
    model = tiny_bundles.classifier(tmp_path / "model")
    texts = ["a", "", "a b c d e f g h", None, "b"]
    result = score(model, text_file(tmp_path / "t.parquet", texts, row_id=[f"r{i}" for i in range(5)]))
    assert result.output["row_id"].to_pylist() == ["r0", "r2", "r4"]
    assert result.quarantine.to_pylist() == [
        {"row_id": "r1", "text": "", "reason": "the text has no tokens"},
        {"row_id": "r3", "text": None, "reason": "the text is missing"},
    ]
    assert result.found["first_fault"] == "r1: the text has no tokens"
    for metadata in (result.metadata, json.loads(result.quarantine.schema.metadata[b"unroll"])):
        counts = [metadata[name] for name in ("rows", "quarantined", "truncated", "source")]
        assert counts == [3, 2, 1, "t.parquet"]


def test_rows_that_get_lost_are_noticed(tmp_path, monkeypatch):
    model = tiny_bundles.classifier(tmp_path / "model")
    monkeypatch.setattr(stream, "quarantined", lambda batch: batch.slice(0, 0))
    with pytest.raises(RuntimeError, match="2 rows were read, 1 scored and 0 quarantined"):
        score(model, text_file(tmp_path / "t.parquet", ["a", ""]))


def test_translations_and_the_best_of_them(tmp_path):
    model = tiny_bundles.translator(tmp_path / "model")
    texts = ["a b c", "h", "d e f g h"]
    path = text_file(tmp_path / "t.parquet", texts)
    out = score(model, path).output
    assert out["prediction"].to_pylist() == texts
    assert [field.name for field in out.schema] == ["row_id", "prediction", "score", "model_version"]
    result = score(model, path, decoding=DecodingConfig(n_best=3, length_penalty=0.5, max_length=4))
    assert result.output["prediction"].to_pylist() == ["a b c", "h", "d e f g"]
    best = result.output["n_best"].to_pylist()
    assert [answer["text"] for answer in best[0]] == ["a b c", "a b", "a"]
    assert [answer["score"] for answer in best[0]] == [0, -0.5, -1]
    decoding = result.metadata["decoding"]
    assert (decoding["beams"], decoding["n_best"], decoding["max_length"]) == (3, 3, 4)


def test_samples_depend_on_seed_and_row_alone(tmp_path):
    model = tiny_bundles.writer(tmp_path / "model")

    def texts(batch_rows=512, first="a", **decoding):
        path = text_file(tmp_path / "t.parquet", [first, *["a"] * 59])
        return score(model, path, batch_rows=batch_rows, decoding=DecodingConfig(**decoding)).output

    first = texts(7, seed=1)["prediction"].to_pylist()
    again = texts(seed=1, n_best=3)
    assert first == again["prediction"].to_pylist()
    assert first != texts(seed=2)["prediction"].to_pylist()
    longer = texts(seed=1, max_length=9)["prediction"].to_pylist()
    assert all(one.startswith(f"{text} ") for one, text in zip(longer, first, strict=True))
    assert len(set(first)) > 50
    assert {len(row) for row in again["n_best"].to_pylist()} == {3}
    # A row before it that cannot be scored does not change a row's number.
    assert texts(first="", seed=1)["prediction"].to_pylist() == first[1:]


def test_a_prompt_has_its_first_token(tmp_path):
    model = tiny_bundles.writer(tmp_path / "model", temperature=0.0)
    out = score(model, text_file(tmp_path / "t.parquet", ["a b"])).output
    assert out["prediction"].to_pylist() == ["a a a a a"]  # no uniforms in a search
    assert out["score"].to_pylist() == [-(4 + 6 + 7)]


def test_tags_are_as_many_as_tokens(tmp_path):
    model = tiny_bundles.tagger(tmp_path / "model")
    sentences = [["a", "b", "zz"], ["b"], [], ["a"] * 9]
    pq.write_table(pa.table({"tokens": sentences}), tmp_path / "t.parquet")
    result = score(model, tmp_path / "t.parquet")
    # a: 6 + letter 6; b: 7 + letter 7; zz: unknown, and so are both of its letters.
    a, b, unknown = (tiny_bundles.TAGS[number % 3] for number in (12, 14, 3))
    assert result.output["prediction"].to_pylist() == [[a, b, unknown], [b], [a] * 6]
    assert result.output["prediction"].type == pa.list_(pa.string())
    assert result.output["score"].to_pylist() == [0.5] * 3
    assert (result.found["rows_truncated"], result.reasons) == (1, {2: "the text has no tokens"})


def test_a_label_without_a_name_is_the_bundles_fault(tmp_path):
    model = tiny_bundles.tagger(tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps(card | {"labels": ["O"]}))
    with pytest.raises(BundleError, match="0 to 0"):
        score(tiny_bundles.seal(model), text_file(tmp_path / "t.parquet", ["b a"]))
