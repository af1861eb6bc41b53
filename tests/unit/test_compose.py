"""compose.yaml, as far as a file can be held to something without an engine that starts it."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONTENT = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = CONTENT["services"]

every_service = pytest.mark.parametrize("name", SERVICES)


def strings(value: Any) -> list[str]:
    """All strings in a value, keys left out."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def test_has_what_a_team_needs() -> None:
    assert set(SERVICES) == {"postgres", "s3", "mlflow", "prefect", "worker"}


@every_service
def test_images_are_pinned(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert re.fullmatch(r"\d+\.\d+[\w.-]*", tag), image
    if image == "unroll":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert tag == project["version"]


@every_service
def test_health_is_checked(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@every_service
def test_waits_for_what_it_needs_to_be_well(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert needed in SERVICES
        assert how == {"condition": "service_healthy"}


@every_service
def test_ports_are_bound_to_loopback(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert SERVICES[name].get("network_mode") is None


@every_service
def test_volumes_are_declared(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.partition(":")[0]
        assert source == "." or source in CONTENT["volumes"]


def test_no_secret_stands_in_the_file() -> None:
    """A name that looks like one has its value from .env; no address holds a password."""

    def look(value: Any) -> None:
        for key, inner in value.items() if isinstance(value, dict) else ():
            if re.search(r"PASSWORD|SECRET|KEY|TOKEN", str(key)):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", inner), key
            look(inner)

    look(CONTENT)
    for text in strings(CONTENT):
        assert not re.search(r"//[^/@\s]+:[^/@\s]+@", text), text


def test_the_example_names_what_is_asked_for_and_has_no_value() -> None:
    asked = set(re.findall(r"\$\{(\w+)[:}]", (ROOT / "compose.yaml").read_text()))
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = dict(line.removeprefix("# ").split("=", 1) for line in lines if re.match(r"(# )?[A-Z_0-9]+=", line))
    assert set(given) == asked
    assert not [name for name, value in given.items() if re.search(r"PASSWORD|KEY", name) and value]


def test_git_ignores_the_passwords() -> None:
    done = subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=ROOT, check=False)  # noqa: S607 -- that of PATH
    assert done.returncode == 0


def test_all_of_the_stacks_programs_are_in_the_image() -> None:
    """The image is built with the extra that has the servers' and the stores' packages."""
    text = (ROOT / "Dockerfile").read_text()
    assert '-e ".[stack]"' in text


def test_the_addresses_are_those_of_the_local_stack() -> None:
    """Both stacks have the same databases and the same bucket: what reads one reads the other."""
    from stack.state import BUCKET, DATABASES

    text = (ROOT / "compose.yaml").read_text()
    for name in DATABASES.values():
        assert name in text
    assert f"s3://{BUCKET}/mlflow" in text
