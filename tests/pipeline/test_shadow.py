"""The shadow scores the same files into folders of its own, and the first model's predictions never wait for it."""

import pyarrow.parquet as pq
import pytest
import tiny_bundles
import yaml
from drifting import put, run
from inboxes import Inbox

from unroll.config.scoring import Shadow
from unroll.errors import ParameterError
from unroll.scoring.job import score_inbox, shadow_of


def shadowed(inbox, **changes):
    folders = {name: inbox.address(f"shadow/{name}") for name in ("output", "quarantine")}
    return inbox.scoring(shadow=Shadow(**{"model": str(inbox.root / "challenger"), **folders, **changes}))


def test_the_shadow_has_folders_and_markers_of_its_own(tmp_path):
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    tiny_bundles.digits(tmp_path / "challenger", "challenger")
    inbox.put("a.parquet", 3, bad=(1,))
    inbox.score()
    before = inbox.files("predictions"), inbox.files("quarantine"), inbox.markers()
    for state in ("scored", "known"):
        report = score_inbox(shadow_of(shadowed(inbox)), staging=tmp_path / "staging")
        assert [(one.file, one.state) for one in report.files] == [("a.parquet", state)]
    rows = pq.read_table(tmp_path / "shadow/output/a.parquet.parquet")
    assert {version.partition("@")[0] for version in rows["model_version"].to_pylist()} == {"challenger"}
    assert pq.read_table(tmp_path / "shadow/quarantine/a.parquet.parquet")["row_id"].to_pylist() == [1]
    assert (inbox.files("predictions"), inbox.files("quarantine"), inbox.markers()) == before


@pytest.mark.parametrize("folder", ["output", "quarantine"])
@pytest.mark.parametrize("other", ["predictions", "quarantine/inside", "."])
def test_a_shadow_in_a_folder_of_the_first_model_is_refused(tmp_path, folder, other):
    with pytest.raises(ParameterError, match="overlaps"):
        shadow_of(shadowed(Inbox(tmp_path), **{folder: str(tmp_path / other)}))


@pytest.mark.slow
def test_whatever_the_shadow_does_the_flow_publishes_and_completes(scoring_place, prefect_server):
    tiny_bundles.digits(scoring_place / "models/tiny-digits/bundle")
    tiny_bundles.digits(scoring_place / "models/challenger/bundle", "challenger")

    def flow(name, **shadow):
        parameters = yaml.safe_load((scoring_place / "params.yaml").read_text())
        parameters["scoring"]["shadow"] = {"model": "models/challenger", **shadow}
        (scoring_place / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
        put(scoring_place, name, tiny_bundles.images(3))
        ran = run(scoring_place, prefect_server)
        assert ran["state_name"] == "Completed"
        assert (scoring_place / f"data/predictions/{name}.parquet.parquet").exists()
        done = {path.name.partition(".")[0] for path in (scoring_place / "data/shadow/predictions").glob("*.parquet")}
        return ran["printed"], done

    printed, done = flow("first", model="models/nowhere")
    assert ("the shadow ended with exit code 2" in printed, done) == (True, set())
    printed, done = flow("second", seconds=0.01)
    assert ("the shadow was stopped after 0.01 s" in printed, done) == (True, set())
    printed, done = flow("third")
    assert done == {"first", "second", "third"}
    assert "shadow: 3 files scored with challenger@" in printed
