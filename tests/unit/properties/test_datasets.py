"""Random data in the forms of docs/data.md: every row is read with equal values, or counted, or there is an error."""

import gzip

import pyarrow as pa
import pytest
import tiny_bundles
from hypothesis import given
from hypothesis import strategies as st
from raw_files import read
from table_writers import TABLES, WRITERS

from unroll.errors import DataError
from unroll.features.text_files import normal, one_line
from unroll.inference.batches import open_file
from unroll.inference.bundle import load_bundle

CELLS = st.text(st.sampled_from("ab é'\",;|\t\r\n0159.-#"), max_size=8)
PACKED = {
    "utf-8": lambda content: content,
    "utf-8-sig": lambda content: b"\xef\xbb\xbf" + content,
    "gzip": gzip.compress,
    "utf-16": lambda content: content.decode().encode("utf-16"),
    "latin-1": lambda content: content.decode().encode("latin-1"),
}
PACKING = st.sampled_from([*PACKED])
SETTINGS = ("`columns`", "`columns:", "`column_names`", "`quotes`", "`quotes: ", "`separator`", "`text_column`")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = (tiny_bundles.classifier(folder / "texts"), tiny_bundles.writer(folder / "prompts"))
    return [load_bundle(one) for one in made]


def pack(path, packing):
    """Pack a text file; return the setting that it then needs."""
    if path.suffix != ".parquet":
        path.write_bytes(PACKED[packing](path.read_bytes()))
    return {"encoding": packing} if packing == "latin-1" else {}


def tried(action, *expected):
    """Return a result; or None after an error that names a setting, or has one of the `expected` reasons."""
    try:
        return action()
    except DataError as error:
        if not any(one in str(error) for one in (*SETTINGS, *expected)):
            raise
    return None


def scored(path, bundle, settings):
    """Return the rows of a file to be scored."""
    card = bundle.card.with_settings(settings)
    return pa.Table.from_batches(open_file(path, type(bundle)(**{**vars(bundle), "card": card}), 2))


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, st.sampled_from(["p", "q"])), min_size=1, max_size=6),
    name=st.sampled_from([*WRITERS]),
    packing=PACKING,
)
def test_labeled_texts(tmp_path, models, rows, name, packing):
    ids, texts, labels = zip(*rows, strict=True)
    WRITERS[name]({"id": [f"x{one}" for one in ids], "text": texts, "label": labels}, tmp_path / name)
    settings = pack(tmp_path / name, packing)
    open_cells = ("carriage return",)
    found = tried(lambda: read("texts", tmp_path / name, labels=["p", "q"], **settings).table, "is empty", *open_cells)
    if found:
        assert found.select(["text", "label"]).to_pylist() == [
            {"text": normal(text), "label": label} for text, label in zip(texts, labels, strict=True)
        ]
    found = tried(lambda: scored(tmp_path / name, models[0], settings), *open_cells)
    if found:
        assert found["text"].to_pylist() == [*texts]
        assert found["row_id"].to_pylist() == [f"x{one}" for one in ids]


@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6),
    name=st.sampled_from(TABLES),
    packing=PACKING,
    titles=st.sampled_from([("source", "target"), ("en", "fr"), ("English", "German")]),
)
def test_sentence_pairs(tmp_path, rows, name, packing, titles):
    WRITERS[name](dict(zip(titles, zip(*rows, strict=True), strict=True)), tmp_path / name)
    settings = pack(tmp_path / name, packing)
    found = tried(lambda: read("pairs", tmp_path / name, max_bad_share=1.0, **settings), "carriage return")
    if found:
        pairs = [(one_line(source), one_line(target)) for source, target in rows]
        kept = [{"source": source, "target": target} for source, target in pairs if source and target]
        assert found.table.select(["source", "target"]).to_pylist() == kept
        assert found.changes.get("left_out", 0) == len(pairs) - len(kept)


TAGS = st.sampled_from(["O", "B-X", "B-X I-X", "B-Y I-Y I-Y"])
TOKENS = st.text(st.sampled_from("abé'\",;|09.-#"), min_size=1, max_size=5)


@st.composite
def tagged_sentences(draw):
    sentences = draw(st.lists(st.lists(TAGS, min_size=1, max_size=4), min_size=1, max_size=4))
    tags = [" ".join(one).split() for one in sentences]
    return [[(draw(TOKENS), tag) for tag in one] for one in tags]


@given(
    sentences=tagged_sentences(),
    name=st.sampled_from(["a.conll", *(name for name in TABLES if name.endswith(".csv"))]),
    between=st.sampled_from(["\t", " ", " _ _ "]),
    packing=PACKING,
)
def test_tagged_sentences(tmp_path, sentences, name, between, packing):
    path = tmp_path / name
    if name == "a.conll":
        blocks = ("".join(f"{token}{between}{tag}\n" for token, tag in one) for one in sentences)
        path.write_text("\n".join(blocks), encoding="utf-8")
    else:
        rows = [(f"s{place}", *row) for place, one in enumerate(sentences) for row in one]
        WRITERS[name](dict(zip(("sentence", "word", "tag"), zip(*rows, strict=True), strict=True)), path)
    settings = pack(path, packing)
    found = tried(lambda: read("tagged", path, **settings).table, "fit no scheme")
    if found:
        assert found["tokens"].to_pylist() == [[token for token, _ in one] for one in sentences]
        assert found["tags"].to_pylist() == [[tag for _, tag in one] for one in sentences]


@given(
    lines=st.lists(st.text(st.sampled_from('ab é\t"#\u00ad'), max_size=8), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    packing=PACKING,
)
def test_running_text_and_prompts(tmp_path, models, lines, end, packing):
    path = tmp_path / "train.txt"
    path.write_bytes((end.join(lines) + end).encode())
    settings = pack(path, packing)
    found = tried(lambda: read("articles", path, **settings), "has no text")
    if found:
        texts = [text for text in map(normal, lines) if text]
        assert found.table["text"].to_pylist() == texts
        assert found.sources[0]["files"][0]["blank_lines"] == len(lines) - len(texts)
    assert scored(path, models[1], settings)["text"].to_pylist() == lines


@given(
    tunes=st.lists(st.lists(st.text("abcde", min_size=1, max_size=4), min_size=1, max_size=3), min_size=1, max_size=4),
    between=st.sampled_from(["", "\n", "\nsome words\n\n", "% a comment\n"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    packing=PACKING,
)
def test_tunes(tmp_path, tunes, between, end, packing):
    blocks = (f"X:{number}\nT:Café\nK:D\n" + "\n".join(one) + "\n" for number, one in enumerate(tunes))
    (tmp_path / "a.abc").write_bytes(between.join(blocks).replace("\n", end).encode())
    settings = pack(tmp_path / "a.abc", packing)
    found = read("tunes", tmp_path / "a.abc", **settings).table
    assert found["text"].to_pylist() == ["K:D\n" + "\n".join(one) for one in tunes]
