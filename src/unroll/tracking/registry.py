"""MLflow's model registry: one registered model a task, whose versions are bundles that passed the gates.

A version's files lie in the run that made them, below `versions/SHA12/`: the folder `bundle/` and `provenance.json`
beside it. They are a copy of the run's `bundle/`, which the next export of the same weights would replace.
"""

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from unroll import paths
from unroll.errors import BundleError, TrackingError, VersionError
from unroll.files import replacing
from unroll.tracking.store import address, known, made_meanwhile, short, store, store_errors
from unroll.tracking.versions import SHA256, Version

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
DECISION = "unroll.gate.decision"
"""Tag of a version that the gates have done with; one without it was registered by a job that was killed."""
_URI = re.compile(r"models:/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(@(?P<alias>[A-Za-z0-9_-]+)|/(?P<version>[0-9]{1,9}))")


@dataclass(frozen=True)
class Resolved:
    """A version whose files are here, whole and verified."""

    name: str
    version: str
    run_id: str
    folder: Path
    """Holds `bundle/`, and `provenance.json` beside it."""


def versions(name: str | None = None) -> list[Version]:
    """Every version of a model, or of all models: by name, the newest first; none where there are none.

    Raises:
        TrackingError: The store cannot be used.
    """
    with store() as client:
        return _versions(client, name)


def version_of(name: str, version: str) -> Version:
    """One version, by its number or an alias.

    Raises:
        TrackingError: It is not there; the message tells what is.
    """
    with store() as client:
        return _version(client, name, version)


def register(name: str, run_id: str, files: Path, tags: Mapping[str, str]) -> Version:
    """Registers a bundle once; gives the version that has its graph already, if there is one.

    Args:
        name: Of the registered model.
        run_id: The run that made it.
        files: Folder of `bundle/` and `provenance.json`, which become the version's.
        tags: `unroll.model_sha256` among them.

    Raises:
        TrackingError: The store cannot be used.
    """
    sha256 = tags[SHA256]
    with store() as client:
        for one in _versions(client, name):
            if one.model_sha256 == sha256:
                return one
        place = f"versions/{sha256[:12]}"
        client.log_artifacts(run_id, str(files), place)
        if not _names(client, name):
            with made_meanwhile():
                client.create_registered_model(name)
        made = client.create_model_version(name, f"runs:/{run_id}/{place}", run_id=run_id, tags=dict(tags))
        return _version(client, name, str(made.version))


def move(name: str, version: str, alias: str) -> None:
    """Lets an alias point at a version.

    Raises:
        TrackingError: The version is not there, or the store cannot be used.
    """
    with store() as client:
        client.set_registered_model_alias(name, alias, _version(client, name, version).version)


def crown(name: str, version: str) -> Version | None:
    """Makes a version champion; the champion before it keeps the alias `previous`.

    `previous` moves first: a process killed in between leaves the old champion in its place.

    Returns:
        The champion before it; None where there was none, or it was this one.

    Raises:
        TrackingError: The version is not there, or the store cannot be used.
    """
    with store() as client:
        new = _version(client, name, version)
        old = next((one for one in _versions(client, name) if CHAMPION in one.aliases), None)
        if old and old.version == new.version:
            return None
        if old:
            client.set_registered_model_alias(name, PREVIOUS, old.version)
        client.set_registered_model_alias(name, CHAMPION, new.version)
        if CHALLENGER in new.aliases:
            client.delete_registered_model_alias(name, CHALLENGER)
        return old


def tag_version(name: str, version: str, tags: Mapping[str, str]) -> None:
    """Sets tags of a version.

    Raises:
        TrackingError: The store cannot be used.
    """
    with store() as client:
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value[:5000])


def tag_run(run_id: str, tags: Mapping[str, str]) -> None:
    """Sets tags of a run.

    Raises:
        TrackingError: The store cannot be used.
    """
    with store() as client:
        for key, value in tags.items():
            client.set_tag(run_id, key, value[:5000])


def run_of(run_id: str) -> dict[str, Any] | None:
    """Name, state, start and tags of a run; None where the store does not know it, or it was deleted.

    Raises:
        TrackingError: The store cannot be used.
    """
    with store() as client:
        if not known(client, run_id):
            return None
        run = client.get_run(run_id)
        started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        return {"name": run.info.run_name, "status": run.info.status, "started": started, "tags": dict(run.data.tags)}


def resolve(uri: str) -> Resolved:
    """Finds the version of `models:/NAME@ALIAS` or `models:/NAME/VERSION` and brings its files here, once.

    They come to `.unroll/models/NAME/VERSION/`, whole, and are verified at each call: the checksums of all files, and
    the graph's against that of the registry.

    Raises:
        VersionError: The files are gone or not what was registered; it would be so at the next call, too.
        TrackingError: There is no such version, or the store or this machine's disk cannot be used.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise TrackingError(f"{uri!r} names no model; write models:/NAME@ALIAS or models:/NAME/VERSION")
    found = version_of(match["name"], match["alias"] or match["version"])
    if not re.fullmatch(r"[0-9a-f]{64}", found.model_sha256) or not found.run_id:
        raise VersionError(
            f"{found.name} version {found.version} was not registered by unroll: it has no tag {SHA256}; "
            f"name another one of `unroll models list`"
        )
    folder = paths.registered(found.name, found.version)
    paths.STATE.mkdir(exist_ok=True)
    with FileLock(paths.STATE / "models.lock"):
        if folder.is_dir():
            with contextlib.suppress(BundleError):
                _verify(folder, found)
                return Resolved(found.name, found.version, found.run_id, folder)
        try:
            with replacing(folder) as part, _fetched(found) as files:
                _verify(files, found)
                files.rename(part)
        except BundleError as error:
            # A file that is there and cannot be read is no fault of the version.
            kind = TrackingError if isinstance(error.__cause__, OSError) else VersionError
            raise kind(
                f"the files of {found.name} version {found.version} are not what was registered: {error} "
                f"Make another version champion: `unroll models rollback {found.name}` or `unroll models promote`"
            ) from error
    return Resolved(found.name, found.version, found.run_id, folder)


@contextlib.contextmanager
def _fetched(found: Version) -> Iterator[Path]:
    """The files of a version in a folder that goes away."""
    with store() as client, tempfile.TemporaryDirectory(prefix=".fetched.", dir=paths.STATE) as scratch:
        try:
            files = Path(client.download_artifacts(found.run_id, found.place, scratch))
        except store_errors() as error:
            # MLflow does not tell files that are gone from a server or a disk at fault.
            there = known(client, found.run_id) and client.list_artifacts(found.run_id, found.place)
            kind = TrackingError if there else VersionError
            raise kind(
                f"the files of {found.name} version {found.version} cannot be fetched from {address()} "
                f"(run {found.run_id}, {found.place}): {short(error)}. Start the store's file server, or make another "
                f"version champion: `unroll models rollback {found.name}`"
            ) from error
        yield files


def _verify(folder: Path, found: Version) -> None:
    from unroll.inference.bundle import load_bundle

    bundle = load_bundle(folder / "bundle")
    if bundle.sha256 != found.model_sha256:
        raise BundleError(f"{bundle.model} has the SHA-256 {bundle.sha256}, the registry says {found.model_sha256}.")


def _names(client: Any, name: str | None) -> dict[str, dict[str, str]]:
    """Registered models, and which version each alias points at."""
    wanted = f"name = '{_checked(name)}'" if name else None
    found: dict[str, dict[str, str]] = {}
    token = None
    while True:
        page = client.search_registered_models(wanted, max_results=1000, page_token=token)
        found |= {one.name: {alias: str(version) for alias, version in one.aliases.items()} for one in page}
        if not (token := page.token):
            return found


def _versions(client: Any, name: str | None) -> list[Version]:
    found = []
    # What a search for versions gives does not tell their aliases.
    for model, aliases in sorted(_names(client, name).items()):
        for one in client.search_model_versions(f"name = '{_checked(model)}'"):
            pointing = tuple(sorted(alias for alias, version in aliases.items() if version == str(one.version)))
            created = datetime.fromtimestamp(one.creation_timestamp / 1000, UTC)
            found.append(Version(model, str(one.version), one.run_id or "", pointing, dict(one.tags), created))
    return sorted(found, key=lambda one: (one.name, -int(one.version)))


def _version(client: Any, name: str, version: str) -> Version:
    there = _versions(client, name)
    for one in there:
        if version == one.version or version in one.aliases:
            return one
    what = f"version {version}" if version.isdigit() else f"alias {version!r}"
    if there:
        aliases = ", ".join(f"{alias} → {one.version}" for one in there for alias in one.aliases) or "none"
        numbers = ", ".join(one.version for one in there[::-1])
        told = f"it has version{'s' * (len(there) > 1)} {numbers}, aliases: {aliases}"
    else:
        others = ", ".join(_names(client, None)) or "none"
        told = (
            f"nothing is registered under that name (registered: {others}); `unroll models gate` registers what passes"
        )
    raise TrackingError(f"{name} has no {what} in the MLflow store at {address()}: {told}")


def _checked(name: str) -> str:
    if "'" in name or "\\" in name:
        raise TrackingError(f"{name!r} is no name of a registered model")
    return name
