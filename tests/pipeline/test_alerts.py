"""Alerts of drift, rejected files, failed and late runs reach a webhook and a mail server; a real Prefect server."""

import http.server
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading

import numpy as np
import pytest
import tiny_bundles
from drifting import bundle, put, run
from flow_processes import ROOT, call, wait_for

# In processes of their own, because importing the flows changes Prefect's settings.
SET_UP = """
import os, sys
from datetime import timedelta
from pipelines import alerts
from prefect import get_client
with get_client(sync_client=True) as client:
    alerts.set_up(client, os.environ[alerts.ADDRESS], timedelta(seconds=float(sys.argv[1])))
    print(*(one.name for one in client.read_automations()))
"""
NOTIFY = """
import os
from pipelines import alerts
block = alerts.notifier(os.environ[alerts.ADDRESS])
with block.raise_on_failure():
    block.notify("body", "subject")
"""


def execute(code, environment, *arguments, **more):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env={**environment, **more}, capture_output=True, text=True, check=False, timeout=500
    )


@pytest.fixture
def web():
    """A web server: its address, and the texts that were posted to it."""
    texts: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(404 if self.path.startswith("/gone") else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook/secret-token", texts
        server.shutdown()


@pytest.mark.slow
def test_drift_a_failed_run_and_a_late_one_reach_a_webhook(scoring_place, prefect_server, web):
    address, texts = web
    environment = prefect_server.environment(ROOT)
    done = execute(SET_UP, environment, "10", UNROLL_ALERT_URL=address)
    assert done.returncode == 0, done.stderr
    names = {f"unroll-alerts-{subject}" for subject in ("drift", "rejected", "failed", "late")}
    assert names <= set(done.stdout.split())

    def alert(subject):
        return wait_for(lambda: [text for text in texts if text.startswith(f"Unroll: {subject}: ")], 240, lambda: texts)

    # A flow run without a worker that executes it.
    flow = call(f"{prefect_server.api}/flows/", {"name": "score"})["id"]
    deployment = call(f"{prefect_server.api}/deployments/", {"name": "nobody", "flow_id": flow})["id"]
    call(f"{prefect_server.api}/deployments/{deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}})

    bundle(scoring_place / "models/tiny-digits/bundle")
    put(scoring_place, "dark", np.zeros_like(tiny_bundles.images(300)) + 40)
    (scoring_place / "data/inbox/garbage.parquet").write_bytes(b"garbage")
    assert run(scoring_place, prefect_server)["state_name"] == "Drifted"
    assert "drift in " in alert("drift")[0]
    assert "1 files rejected. The first: garbage.parquet: " in alert("rejected")[0]

    shutil.rmtree(scoring_place / "models")
    put(scoring_place, "more", tiny_bundles.images(3))
    run(scoring_place, prefect_server, exit_code=2)
    (failed,) = alert("failed")
    assert "score (" in failed
    assert "): Failed, " in failed
    assert "score (" in alert("late")[0]
    # The server shows its address to nobody.
    documents = json.dumps(prefect_server.ask("block_documents", include_secrets=False))
    assert "unroll-alerts" in documents
    assert "secret-token" not in documents

    done = execute(SET_UP, environment, "10", UNROLL_ALERT_URL="")
    assert not names & set(done.stdout.split())


def test_a_webhook_gets_the_text_and_its_refusal_does_not_show_the_address(tmp_path, web):
    address, texts = web
    environment = dict(os.environ) | {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = execute(NOTIFY, environment, UNROLL_ALERT_URL=f"{address}?key=a%2Bb")
    assert (done.returncode, texts) == (0, ["body"]), done.stderr
    done = execute(NOTIFY, environment, UNROLL_ALERT_URL=address.replace("hook", "gone"))
    assert "NotificationError" in done.stderr
    assert "secret-token" not in done.stdout + done.stderr


def test_an_address_of_mail(tmp_path):
    received: list[str] = []

    class Smtp(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 mail\r\n")
            for line in self.rfile:
                command = line.decode().strip().upper()
                if command == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    received.append(b"".join(lines).decode())
                self.wfile.write(b"221 bye\r\n" if command == "QUIT" else b"250 yes\r\n")
                if command == "QUIT":
                    return

    environment = dict(os.environ) | {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"mailto://127.0.0.1:{server.server_address[1]}?from=unroll@example.com&to=operator@example.com"
        done = execute(NOTIFY, environment, UNROLL_ALERT_URL=address)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    (mail,) = received
    assert "Subject: subject" in mail
    assert "To: operator@example.com" in mail
    done = execute(NOTIFY, environment, UNROLL_ALERT_URL="nothing:that-exists")
    assert "ParameterError" in done.stderr
