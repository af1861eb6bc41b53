"""What runs again: tasks that a server's absence stopped, and no others."""

import subprocess
import sys

import pytest
import yaml
from flow_processes import ROOT, DvcRepo, Server

from unroll.errors import PASSING_EXIT

# Fails once, with the exit code of its first argument; then it works.
STAGE = """
import sys
from pathlib import Path

with Path("tries").open("a") as file:
    file.write("x")
if len(Path("tries").read_text()) < 2:
    print("unroll ingest: away", file=sys.stderr)
    sys.exit(int(sys.argv[1]))
Path("out").write_text("done")
"""


def run(repo: DvcRepo, server: Server, status: int) -> subprocess.CompletedProcess[str]:
    (repo.path / "stage.py").write_text(STAGE)
    # The flows, in a hurry: what is tried again stays as it is.
    (repo.path / "hurry.py").write_text(
        "import sys\nfrom pipelines import retries\nretries.AFTER_NETWORK_FAULTS['retry_delay_seconds'] = [0.1, 0.1]\n"
        "from pipelines.training import main\nsys.exit(main(['--slots', '1']))\n"
    )
    stage = {"cmd": f"python stage.py {status}", "deps": ["stage.py"], "outs": ["out"]}
    (repo.path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"only": stage}}))
    return subprocess.run(
        [sys.executable, "hurry.py"],
        cwd=repo.path,
        env=server.environment(ROOT),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_a_stage_whose_server_was_away_is_tried_again(dvc_repo: DvcRepo, prefect_server: Server) -> None:
    done = run(dvc_repo, prefect_server, PASSING_EXIT)
    assert (dvc_repo.path / "tries").read_text() == "xx", done.stderr
    assert (dvc_repo.path / "out").read_text() == "done"


@pytest.mark.slow
def test_a_stage_with_wrong_data_is_not(dvc_repo: DvcRepo, prefect_server: Server) -> None:
    done = run(dvc_repo, prefect_server, 2)
    assert done.returncode == 1
    assert "unroll ingest: away" in done.stderr
    assert (dvc_repo.path / "tries").read_text() == "x"
