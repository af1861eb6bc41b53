"""compose.yaml and the Dockerfile, as far as files can be checked without a container engine."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
CONTENT = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = CONTENT["services"]
NEEDS = {
    "postgres": {"POSTGRES_PASSWORD"},
    "mlflow": {"POSTGRES_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "prefect": {"POSTGRES_PASSWORD"},
    "worker": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
}
"""Service -> the secrets that it may see."""


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_checked_and_private(name):
    service = SERVICES[name]
    image, _, tag = service["image"].partition(":")
    assert re.fullmatch(r"\d+\.\d+[\w.-]*", tag), image
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["cap_drop"] == ["ALL"]
    # Compose writes the content of a config into the container.
    assert service.get("read_only", False) == ("configs" not in service)
    assert name in ("mlflow", "prefect") or service["user"].partition(":")[0] not in ("", "0", "root")
    assert "network_mode" not in service
    for needed, how in service.get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}, needed
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        # One without a name would be lost, and left behind, whenever its container is removed.
        assert source == "." or source in CONTENT["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_sees_only_the_secrets_that_it_needs(name):
    assert "env_file" not in SERVICES[name]
    seen = set()
    for key, value in SERVICES[name]["environment"].items():
        if re.search("PASSWORD|SECRET|KEY|TOKEN", key):
            assert value is None or re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), key
            seen.add(key if value is None else value[2:].partition(":")[0])
        # No address holds a password.
        assert not re.search(r"//[^/@\s]+:[^/@\s]+@", str(value))
    assert seen == NEEDS[name]


def test_compose_accepts_the_file():
    values = {"POSTGRES_PASSWORD": "known-here", "UNROLL_UID": "1000", "UNROLL_GID": "1000"}
    options = {"cwd": ROOT, "env": os.environ | values, "capture_output": True, "check": False}
    compose = [shutil.which("docker") or "no-docker", "compose"]
    if compose[0] == "no-docker" or subprocess.run([*compose, "version"], **options).returncode != 0:
        pytest.skip("docker compose is not installed")
    done = subprocess.run([*compose, "config", "--format", "json"], **options)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    seen = {name for name, service in services.items() if "known-here" in json.dumps(service)}
    assert seen == {"postgres", "mlflow", "prefect"}
    assert [name for name, service in services.items() if "build" in service] == ["mlflow"]


def test_the_example_names_what_is_read_from_the_environment():
    asked = set(re.findall(r"\$\{(\w+)[:}]", TEXT))
    asked |= {key for service in SERVICES.values() for key, value in service["environment"].items() if value is None}
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = dict(line.removeprefix("# ").split("=", 1) for line in lines if re.match(r"(# )?[A-Z_0-9]+=", line))
    assert set(given) == asked
    assert not [name for name, value in given.items() if re.search("PASSWORD|KEY", name) and value]
    subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=ROOT, check=True)  # noqa: S607 -- that of PATH


def test_the_image_installs_as_make_does():
    makefile, dockerfile = ((ROOT / name).read_text() for name in ("Makefile", "Dockerfile"))
    (version,) = re.findall(r"^PIP_VERSION := (.*)$", makefile, re.MULTILINE)
    assert f"ARG PIP_VERSION={version}\n" in dockerfile
    assert '-e ".[server]"' in dockerfile
