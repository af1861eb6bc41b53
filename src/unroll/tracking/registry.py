"""MLflow's model registry: one registered model per task, whose versions are bundles that were not refused.

The files of a version are in the run that made it, below `versions/SHA12/`: the folder `bundle/`, and `provenance.json`
beside it. They are a copy of the run's own `bundle/`, which the next export of the same weights would replace.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from unroll import paths
from unroll.errors import BundleError, TrackingError, VersionError
from unroll.files import replacing
from unroll.tracking.store import (
    address,
    error_for,
    mlflow_errors,
    one_line,
    open_store,
    run_exists,
    tolerating_existing,
)

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
DECISION = "unroll.gate.decision"
"""Tag of a version whose gates are finished; a version without it was registered by a process that was killed."""
_SHA256 = "unroll.model_sha256"
_URI = re.compile(r"models:/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(@(?P<alias>[A-Za-z0-9_-]+)|/(?P<version>[0-9]{1,9}))")
_MAX_TAG = 5000
_PAGE = 1000


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        name: Name of the registered model, which is that of the task.
        version: Its number.
        run_id: The MLflow run that made it; empty if unroll did not register it.
        aliases: The aliases that point at it now.
        tags: Unroll's tags: `unroll.experiment`, `.model_version`, `.model_sha256`, `.git_commit`, `.data`, `.gate.…`.
        created: When it was registered.
    """

    name: str
    version: str
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(repr=False)
    created: datetime

    @property
    def experiment(self) -> str:
        """Name of the experiment in params.yaml."""
        return self.tags.get("unroll.experiment", "")

    @property
    def model_version(self) -> str:
        """`NAME@SHA12`, which is also in each file of predictions."""
        return self.tags.get("unroll.model_version", "")

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the graph."""
        return self.tags.get(_SHA256, "")

    @property
    def data(self) -> dict[str, str]:
        """DVC's md5 of the data that it was trained on, by path."""
        hashes: dict[str, str] = json.loads(self.tags.get("unroll.data", "{}"))
        return hashes

    @property
    def artifacts(self) -> str:
        """The folder of its files among the run's artifacts: `bundle/`, and `provenance.json` beside it."""
        return f"versions/{self.model_sha256[:12]}"

    @property
    def folder(self) -> Path:
        """The same folder on this machine, once `resolve` has downloaded it."""
        return paths.registered(self.name, self.version)


def versions(name: str | None = None) -> list[Version]:
    """Return all versions of a model, or of all models: sorted by name, the newest first.

    Raises:
        ServiceUnavailable, TrackingError: The store cannot be used. (All functions of this module raise these.)
    """
    found = []
    with open_store() as client:
        # The results of a search for versions lack their aliases.
        for model, aliases in sorted(_aliases(client, name).items()):
            for one in client.search_model_versions(f"name = '{_quotable(model)}'"):
                pointing = tuple(sorted(alias for alias, version in aliases.items() if version == str(one.version)))
                created = datetime.fromtimestamp(one.creation_timestamp / 1000, UTC)
                found.append(Version(model, str(one.version), one.run_id or "", pointing, dict(one.tags), created))
    return sorted(found, key=lambda one: (one.name, -int(one.version)))


def version_of(name: str, version: str) -> Version:
    """Return the version with this number or alias.

    Raises:
        TrackingError: There is none; the message lists those that exist.
    """
    existing = versions(name)
    for one in existing:
        if version == one.version or version in one.aliases:
            return one
    wanted = f"version {version}" if version.isdigit() else f"alias {version!r}"
    if existing:
        aliases = ", ".join(f"{alias} → {one.version}" for one in existing for alias in one.aliases) or "none"
        hint = f"versions: {', '.join(one.version for one in existing[::-1])}; aliases: {aliases}"
    else:
        others = ", ".join(dict.fromkeys(one.name for one in versions())) or "none"
        hint = f"nothing has that name (registered models: {others}); `unroll models gate` registers what passes"
    raise TrackingError(f"{name} has no {wanted} in the MLflow store at {address()}: {hint}")


def register(name: str, run_id: str, files: Path, tags: Mapping[str, str]) -> Version:
    """Register a bundle under a name, or return the version that has the same graph if there is one.

    Args:
        name: Name of the registered model.
        run_id: The run that made it.
        files: Folder with `bundle/` and `provenance.json`, which become the version's files.
        tags: The version's tags, `unroll.model_sha256` among them.
    """
    with open_store() as client:
        for one in versions(name):
            if one.model_sha256 == tags[_SHA256]:
                return one
        artifacts = f"versions/{tags[_SHA256][:12]}"
        client.log_artifacts(run_id, str(files), artifacts)
        if not _aliases(client, name):
            with tolerating_existing():
                client.create_registered_model(name)
        made = client.create_model_version(name, f"runs:/{run_id}/{artifacts}", run_id=run_id, tags=dict(tags))
        return version_of(name, str(made.version))


def set_alias(name: str, version: str, alias: str) -> None:
    """Point an alias at a version."""
    with open_store() as client:
        client.set_registered_model_alias(name, alias, version_of(name, version).version)


def promote(name: str, version: str) -> Version | None:
    """Make a version champion; the champion before it gets the alias `previous`.

    `previous` moves first: a process that is killed in between leaves the old champion in its place.

    Returns:
        The champion before it; None if there was none, or it was this version.
    """
    with open_store() as client:
        new = version_of(name, version)
        old = next((one for one in versions(name) if CHAMPION in one.aliases), None)
        if old and old.version == new.version:
            return None
        if old:
            client.set_registered_model_alias(name, PREVIOUS, old.version)
        client.set_registered_model_alias(name, CHAMPION, new.version)
        if CHALLENGER in new.aliases:
            client.delete_registered_model_alias(name, CHALLENGER)
        return old


def tag_version(name: str, version: str, tags: Mapping[str, str]) -> None:
    """Set tags of a version, in their order."""
    with open_store() as client:
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value[:_MAX_TAG])


def tag_run(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run."""
    with open_store() as client:
        for key, value in tags.items():
            client.set_tag(run_id, key, value[:_MAX_TAG])


def run_of(run_id: str) -> dict[str, Any] | None:
    """Return name, status, start and tags of a run; None if the store does not know it or it was deleted."""
    with open_store() as client:
        if not run_exists(client, run_id):
            return None
        run = client.get_run(run_id)
        started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        return {"name": run.info.run_name, "status": run.info.status, "started": started, "tags": dict(run.data.tags)}


def resolve(uri: str) -> Version:
    """Find the version of `models:/NAME@ALIAS` or `models:/NAME/VERSION`, and download its files into its folder once.

    The files are verified at each call: all checksums, and that of the graph against the registry's.

    Raises:
        VersionError: The files are missing or are not what was registered; the next call would find the same.
        TrackingError: There is no such version, or the store or the disk of this machine cannot be used.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise TrackingError(f"{uri!r} is not the address of a model; write models:/NAME@ALIAS or models:/NAME/VERSION")
    found = version_of(match["name"], match["alias"] or match["version"])
    if not re.fullmatch(r"[0-9a-f]{64}", found.model_sha256) or not found.run_id:
        raise VersionError(
            f"{found.name} version {found.version} was not registered by unroll: it has no tag {_SHA256}; "
            "choose another one from `unroll models list`"
        )
    paths.STATE.mkdir(exist_ok=True)
    with FileLock(paths.STATE / "models.lock"):
        with contextlib.suppress(BundleError):
            _verify(found.folder, found)
            return found
        try:
            with replacing(found.folder) as part, _downloaded(found) as files:
                _verify(files, found)
                files.rename(part)
        except BundleError as error:
            # A file that exists but cannot be read is no fault of the version.
            kind = TrackingError if isinstance(error.__cause__, OSError) else VersionError
            raise kind(
                f"the files of {found.name} version {found.version} are not what was registered: {error} "
                f"Make another version champion: `unroll models rollback {found.name}` or `unroll models promote`"
            ) from error
    return found


@contextlib.contextmanager
def _downloaded(found: Version) -> Iterator[Path]:
    with open_store() as client, tempfile.TemporaryDirectory(prefix=".download.", dir=paths.STATE) as scratch:
        try:
            files = Path(client.download_artifacts(found.run_id, found.artifacts, scratch))
        except mlflow_errors() as error:
            # MLflow raises the same for missing files as for a server or a disk at fault.
            exists = run_exists(client, found.run_id) and client.list_artifacts(found.run_id, found.artifacts)
            kind = error_for(error) if exists else VersionError
            raise kind(
                f"the files of {found.name} version {found.version} cannot be downloaded from {address()} "
                f"(run {found.run_id}, {found.artifacts}): {one_line(error)}. Start the store's file server, or make "
                f"another version champion: `unroll models rollback {found.name}`"
            ) from error
        yield files


def _verify(folder: Path, found: Version) -> None:
    from unroll.inference.bundle import load_bundle

    bundle = load_bundle(folder / "bundle")
    if bundle.sha256 != found.model_sha256:
        raise BundleError(f"{bundle.model} has the SHA-256 {bundle.sha256}, the registry has {found.model_sha256}.")


def _aliases(client: Any, name: str | None) -> dict[str, dict[str, str]]:
    """Return alias → version of each registered model, or of the one with this name."""
    models = client.search_registered_models(f"name = '{_quotable(name)}'" if name else None, max_results=_PAGE)
    return {one.name: {alias: str(version) for alias, version in one.aliases.items()} for one in models}


def _quotable(name: str) -> str:
    if "'" in name or "\\" in name:
        raise TrackingError(f"{name!r} cannot be the name of a registered model; remove quotes and backslashes")
    return name
