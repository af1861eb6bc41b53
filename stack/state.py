"""The folder of a stack: addresses, passwords, logs, pid files, and what a shell needs to use the servers."""

import json
import os
import secrets
import shlex
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from unroll.errors import UnrollError
from unroll.files import read_json, write_json

HOST = "127.0.0.1"
PORTS = {"postgres": 5433, "s3": 9000, "mlflow": 5000, "prefect": 4200}
"""Service -> its usual port."""
BUCKET = "unroll"
DATABASES = {"mlflow": "unroll_mlflow", "prefect": "unroll_prefect", "ledger": "unroll_ledger"}
REGION = "us-east-1"
USER = "unroll"


class StackError(UnrollError):
    """A server of the stack that cannot be started, or does not answer."""


@dataclass(frozen=True)
class State:
    """A stack's folder.

    Passwords are made at the first start. They stand in files of mode 600 that PostgreSQL's and S3's clients read by
    themselves (`PGPASSFILE`, `AWS_SHARED_CREDENTIALS_FILE`), so no address, command line or log ever holds one.

    Attributes:
        folder: Absolute.
        ports: Service -> port.
        external: A PostgreSQL server of yours, without its password, if one was named.
    """

    folder: Path
    ports: Mapping[str, int]
    external: URL | None = None

    @property
    def pgpass(self) -> Path:
        """PostgreSQL's passwords, in libpq's form; the stack's own server keeps its one while yours is used."""
        return self.folder / ("pgpass" if self.external is None else "pgpass-yours")

    @property
    def s3_keys(self) -> Path:
        """The store's keys, in the form of AWS's tools."""
        return self.folder / "s3-keys"

    @property
    def shell(self) -> Path:
        """What a shell sources to use the servers."""
        return self.folder / "env"

    def log(self, service: str) -> Path:
        """What a service has said since it was started."""
        return self.folder / "logs" / f"{service}.log"

    def pid(self, service: str) -> Path:
        """Which process it is."""
        return self.folder / f"{service}.pid.json"

    def address(self, service: str) -> str:
        """Where a server of HTTP answers."""
        return f"http://{HOST}:{self.ports[service]}"

    def postgres(self, name: str, driver: str = "psycopg") -> str:
        """SQLAlchemy's address of a database, without a password.

        Args:
            name: A key of DATABASES.
            driver: Python's module for it.
        """
        server = self.external or URL.create("postgresql", USER, host=HOST, port=self.ports["postgres"])
        return server.set(drivername=f"postgresql+{driver}", database=DATABASES[name]).render_as_string()

    def environment(self) -> dict[str, str]:
        """What a process needs to use the servers; no secret is in it."""
        return {
            "MLFLOW_TRACKING_URI": self.address("mlflow"),
            "PREFECT_API_URL": f"{self.address('prefect')}/api",
            "UNROLL_LEDGER_URL": self.postgres("ledger"),
            "PGPASSFILE": str(self.pgpass),
            "AWS_ENDPOINT_URL": self.address("s3"),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_SHARED_CREDENTIALS_FILE": str(self.s3_keys),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def write(self) -> None:
        """Writes passwords where there are none yet, ports, and the file for shells."""
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "ports.json", dict(self.ports))
        if not self.s3_keys.exists():
            _write_secret(
                self.s3_keys,
                f"[default]\naws_access_key_id = {USER}\naws_secret_access_key = {secrets.token_urlsafe(32)}\n",
            )
        if self.external is None and not self.pgpass.exists():
            _write_secret(self.pgpass, f"{HOST}:*:*:{USER}:{secrets.token_urlsafe(32)}\n")
        # Keys that the shell has would win over the file.
        lines = ["unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in self.environment().items()]
        _write_secret(self.shell, "\n".join(lines) + "\n")

    def s3_key(self) -> tuple[str, str]:
        """The store's access key and secret key."""
        lines = self.s3_keys.read_text(encoding="utf-8").splitlines()
        values = dict(line.split(" = ", 1) for line in lines if " = " in line)
        return values["aws_access_key_id"], values["aws_secret_access_key"]

    def postgres_password(self) -> str:
        """Of the stack's own PostgreSQL."""
        return self.pgpass.read_text(encoding="utf-8").strip().rpartition(":")[2]


def open_state(folder: Path, asked: Mapping[str, int | None], postgres_url: str | None) -> State:
    """The state in a folder, as it was left or new.

    Args:
        folder: Is made where it is missing.
        asked: Service -> port; None for that of the last start, or the usual one; 0 for any that is free.
        postgres_url: A PostgreSQL server to use in place of one of the stack's own, with its password.

    Raises:
        StackError: The address is none of PostgreSQL, or the folder's files are damaged.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "ports.json"
    try:
        remembered = {**PORTS, **(read_json(known) if known.exists() else {})}
    except (json.JSONDecodeError, TypeError) as error:
        raise StackError(f"{known} is damaged ({error}); delete it to use the usual ports") from None
    ports: dict[str, int] = {}
    for service in PORTS:
        wanted = asked.get(service)
        port = remembered[service] if wanted is None else wanted
        ports[service] = port or free_port(ports.values())
    if not postgres_url:
        return State(folder, ports)
    url = make_url(postgres_url)
    if url.get_backend_name() != "postgresql" or not url.host:
        raise StackError("UNROLL_POSTGRES_URL must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    port, user = url.port or 5432, url.username or USER
    state = State(folder, ports, URL.create("postgresql", user, host=url.host, port=port, database=url.database))
    if url.password:
        fields = (url.host, str(port), "*", user, str(url.password))
        _write_secret(state.pgpass, ":".join(one.replace("\\", "\\\\").replace(":", "\\:") for one in fields) + "\n")
    return state


def free_port(taken: Iterable[int] = ()) -> int:
    """A port on loopback that nobody listens on."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port


def check_port(service: str, port: int) -> None:
    """Raises StackError where somebody listens on it already."""
    with socket.socket() as probe:
        # A port that was left a moment ago counts as free; one that is listened on does not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StackError(
                f"port {port} of {HOST}, for {service}, cannot be had: {error.strerror}. Stop what uses it, or choose "
                f"another: `make stack STACK='--{service}-port 0'` takes a free one"
            ) from None


def _write_secret(path: Path, text: str) -> None:
    """Writes a file that no other user can read, at no moment."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
