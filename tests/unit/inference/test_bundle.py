"""A bundle says what goes in and out, and is held to it."""

from pathlib import Path

import tiny_bundles

from unroll.files import sha256_of, write_json
from unroll.inference.bundle import load_bundle


def test_reads_the_bundle_or_the_folder_that_holds_it(tmp_path: Path) -> None:
    folder = tiny_bundles.digits(tmp_path / "mnist" / "bundle")
    direct, outer = load_bundle(folder), load_bundle(tmp_path / "mnist")
    assert direct == outer
    assert direct.card.task.domain == "digits"
    assert direct.model == folder / "model.onnx"
    assert direct.version == f"tiny-digits@{sha256_of(folder / 'model.onnx')[:12]}"


def test_provenance_beside_the_bundle_is_carried_along(tmp_path: Path) -> None:
    folder = tiny_bundles.digits(tmp_path / "mnist" / "bundle")
    assert load_bundle(folder).provenance is None
    about = {"git_commit": "abc", "mlflow_run_id": "123", "model_sha256": load_bundle(folder).sha256}
    write_json(tmp_path / "mnist" / "provenance.json", about)
    assert load_bundle(folder).provenance == about
    write_json(tmp_path / "mnist" / "provenance.json", about | {"model_sha256": "that of another graph"})
    assert load_bundle(folder).provenance is None
