"""`make serve` over a day: servers and a worker that score by the clock, are cancelled, stopped, and started again."""

import contextlib
import os
import shutil
import signal
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles
import yaml
from flow_processes import ROOT, DvcRepo, Server, call, process, processes_in, wait_for
from servers import free_port

pytestmark = pytest.mark.slow

ROWS = 20
# A stage that starts a program of its own, and that nothing but a kill ends.
STUBBORN = """
import signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
if sys.argv[1] == "stage":
    subprocess.Popen([sys.executable, __file__, "helper"])
    open("started", "w").close()
time.sleep(600)
"""
# As in pipelines.batch_inference, whose import would change Prefect's settings in this process.
RETRAIN = "Retrain: "


class Place:
    """A copy of the project with something to score, and a training that does not end."""

    def __init__(self, path):
        self.path = path
        self.log = path.parent / "serve.log"
        self.ports = free_port(), free_port()
        self.server = Server(f"http://127.0.0.1:{self.ports[1]}/api", path / ".prefect/server")
        for name in ("Makefile", "Procfile"):
            shutil.copy(ROOT / name, path)
        (path / ".venv").symlink_to(sys.prefix)
        content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        train, score = content["deployments"]
        train["schedules"] = []
        score["schedules"] = [{"interval": 15}]
        (path / "prefect.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        (path / "stage.py").write_text(STUBBORN)
        stage = {"cmd": "python stage.py stage", "deps": ["stage.py"], "outs": ["out"]}
        (path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"endless": stage}}))

    @contextlib.contextmanager
    def serve(self):
        """`make serve`, as long as the block lasts."""
        ports = [f"MLFLOW_PORT={self.ports[0]}", f"PREFECT_PORT={self.ports[1]}"]
        quick = {"PREFECT_WORKER_QUERY_SECONDS": "2", "PYTHONPATH": str(ROOT / "src")}
        quick["UNROLL_ALERT_URL"] = "http://127.0.0.1:9/nobody-listens"
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MAKE"))}
        # The stamp of the installation is taken as it is.
        command = ["make", "-o", ".venv/.installed", "serve", *ports]
        with process(command, self.log, cwd=self.path, env=mine | quick) as child:
            yield child

    def wait_for(self, what, seconds=300.0):
        return wait_for(what, seconds, lambda: self.log.read_text()[-5000:])

    def runs(self, flow, *states):
        """The runs of a flow that are in one of these states, by name, newest first."""
        state = {"state": {"name": {"any_": list(states)}}} if states else {}
        return self.server.ask("flow_runs", flows={"name": {"any_": [flow]}}, flow_runs=state, sort="START_TIME_DESC")

    def state(self, run):
        return str(self.server.ask("flow_runs", flow_runs={"id": {"any_": [run]}})[0]["state_name"])

    def start(self, flow):
        (deployment,) = self.server.ask("deployments", deployments={"name": {"any_": [flow]}})
        return str(call(f"{self.server.api}/deployments/{deployment['id']}/create_flow_run", {"parameters": {}})["id"])

    def wait_for_training(self):
        """Wait until the endless stage runs, with the program that it has started."""
        self.wait_for((self.path / "started").exists)
        (self.path / "started").unlink()
        assert len(processes_in(self.path, "stage.py")) >= 2


@pytest.fixture
def place(scoring_place):
    repo = DvcRepo(scoring_place)
    repo.initialize()
    tiny_bundles.digits(scoring_place / "models/tiny-digits/bundle")
    return Place(scoring_place)


def put(place, name):
    table = tiny_bundles.digits_table(tiny_bundles.images(ROWS), row_id=pa.array(range(ROWS)))
    pq.write_table(table, place.path / "data/inbox" / name)


def scored(place, name):
    return bool([path for path in (place.path / "data/predictions").rglob(f"{name}*.parquet") if path.is_file()])


def test_a_day_of_make_serve(place):
    put(place, "monday.parquet")
    with place.serve() as served:
        # The clock starts the first scoring, nobody else.
        place.wait_for(lambda: scored(place, "monday"), 600)
        first = place.wait_for(lambda: place.runs("score", "Completed"))[-1]
        assert first["auto_scheduled"] is True
        assert "unroll-alerts-late" in {one["name"] for one in place.server.ask("automations")}

        # A training takes the pool's one slot, and scorings come due meanwhile.
        training = place.start("train")
        place.wait_for_training()
        place.wait_for(lambda: len(place.runs("score", "Late")) >= 2)
        put(place, "tuesday.parquet")

        # The cancelled training leaves no process; of the late scorings, one does the work of all.
        call(f"{place.server.api}/flow_runs/{training}/set_state", {"state": {"type": "CANCELLING"}})
        place.wait_for(lambda: place.state(training) == "Cancelled")
        place.wait_for(lambda: not processes_in(place.path, "stage.py"), 60)
        place.wait_for(lambda: scored(place, "tuesday"))
        cancelled = [run for run in place.runs("score", "Cancelled") if "late run" in (run["state"]["message"] or "")]
        assert cancelled

        # A scoring that ends in the state Drifted starts a training only where its message asks for one.
        for message in ("mean: PSI 0.4", f"{RETRAIN}mean: PSI 0.4"):
            drifted = {"type": "COMPLETED", "name": "Drifted", "message": message}
            address = f"{place.server.api}/flow_runs/{place.start('score')}/set_state"
            call(address, {"state": drifted, "force": True})
        place.wait_for_training()
        (retraining,) = [run for run in place.runs("train") if (run["created_by"] or {}).get("type") == "AUTOMATION"]

        # Ctrl-C while it runs.
        os.killpg(served.pid, signal.SIGINT)
        served.wait(60)
        place.wait_for(lambda: not processes_in(place.path), 60)

    put(place, "wednesday.parquet")
    with place.serve():
        # The interrupted training does not block the pool.
        place.wait_for(lambda: scored(place, "wednesday"), 600)
        assert place.state(retraining["id"]) == "Crashed"
