"""Samples of digit images: file order, and the validation rows at the end of the training split."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.digits.samples import make_samples
from unroll.errors import SplitError


def test_images_keep_the_order_of_the_file(tiny):
    table = tiny.digits(60, 20)
    samples = make_samples(table, tiny.section("digits"), "digits")
    assert samples.tensors["targets"].tolist() == table["label"].to_pylist()
    assert samples.tensors["inputs"][7].ravel().tolist() == table["pixels"][7].as_py()
    (fold,) = samples.folds
    assert np.concatenate([fold.train, fold.valid, fold.test]).tolist() == list(range(80))
    assert [len(fold.train), len(fold.valid), len(fold.test)] == [40, 20, 20]
    chunked = pa.concat_tables([table.slice(0, 13), table.slice(13, 30), table.slice(43)])
    again = make_samples(chunked, tiny.section("digits"), "digits")
    np.testing.assert_array_equal(again.tensors["inputs"], samples.tensors["inputs"])


@pytest.mark.parametrize(("test", "valid_rows"), [(20, 60), (0, 20)])
def test_an_empty_split_is_an_error(tiny, test, valid_rows):
    with pytest.raises(SplitError, match=r"tasks\.digit-rows"):
        make_samples(tiny.digits(60, test), tiny.section("digits", valid_rows=valid_rows), "digit-rows")
