"""DVC, in a process of its own, without work that it does again for each stage.

`python -m pipelines.dvc_process read` prints the graph and which stages have changed, as JSON;
`python -m pipelines.dvc_process repro STAGE` is `dvc repro --single-item STAGE`, and says only what the stage says.
`restore`, `push` and `work` serve stages on other machines (pipelines/dask_stages.py).

For each stage, `dvc status` parses params.yaml and pyproject.toml, compares each parameter with all keys of the file,
and looks at the same folders of code, and `dvc repro` parses and writes the whole dvc.lock, in pure Python. With the
default experiments, that takes two thirds of their time.
"""

import contextlib
import fcntl
import functools
import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import dpath
import dvc.dependency.param
import dvc.dvcfile
import dvc.stage.run
from dvc.cli import main as dvc_main
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo, lock_repo
from dvc.stage.cache import StageCache
from dvc.utils.serialize import dumps_yaml
from dvc_objects.fs.generic import copy

from unroll.files import write_text

MISSING = 3
"""Exit status of `restore` where no result is known."""


def read() -> int:
    """Print a JSON object: `stages`, stage -> the stages whose outputs it reads, and `changed`, a list of stages."""
    dvc.dependency.param.load_path = functools.cache(dvc.dependency.param.load_path)
    dvc.dependency.param.dpath = SimpleNamespace(get=_value)
    Output.get_hash = _once_for_each_path(Output.get_hash)
    try:
        # One lock around both: DVC forgets the graph when it releases the lock.
        with Repo(_wait_for_lock=True) as repo, lock_repo(repo):
            graph = repo.index.graph
            stages = {stage.addressing: [other.addressing for other in graph.successors(stage)] for stage in graph}
            print(json.dumps({"stages": stages, "changed": list(repo.status())}))
    except DvcException:
        # DVC's own logger prints the message without a traceback.
        logging.getLogger("dvc").exception("")
        return 1
    return 0


def repro(stage: str) -> int:
    """Run a stage if it has changed, and return DVC's exit status."""
    return _dvc("repro", "--single-item", stage)


def restore(stage: str) -> int:
    """Check out what a stage has written, here or elsewhere, for its present inputs.

    Returns:
        DVC's exit status, or MISSING where the stage would have to run.
    """

    def stop(*_: object, **__: object) -> None:
        sys.exit(MISSING)

    dvc.stage.run.cmd_run = stop
    return _dvc("repro", "--pull", "--single-item", stage)


def push(*stages: str) -> int:
    """Send the outputs of stages to the remote."""
    return _quiet("push", *stages)


def work(stage: str, lock: str, *upstream: str) -> int:
    """Run a stage in a clone that has nothing yet, and send its outputs and its run cache to the remote.

    Args:
        stage: The stage.
        lock: File with the dvc.lock of the machine that orders it.
        upstream: The stages whose outputs it reads.
    """
    # A worker may have been killed, and its stage be about to end.
    Path(".dvc/tmp").mkdir(exist_ok=True)
    with Path(".dvc/tmp/work").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        write_text(Path("dvc.lock"), Path(lock).read_text(encoding="utf-8"))
        # Without a target, `dvc pull` would pull everything.
        status = _quiet("pull", "--force", *upstream) if upstream else 0
        status = status or _dvc("repro", "--pull", "--single-item", stage)
        # The outputs first: who finds the entry of the run cache finds them, too.
        return status or _quiet("push", stage) or _quiet("push", "--run-cache", stage)


def _quiet(*arguments: str) -> int:
    """Run DVC without its counts of files; errors are printed."""
    with contextlib.redirect_stdout(io.StringIO()):
        return _dvc(*arguments)


def _dvc(*arguments: str) -> int:
    # DVC's messages below the level of a warning are left out: the flow reports progress.
    logging.disable(logging.INFO)
    dvc.dvcfile.modify_yaml = _modify_lock_file
    StageCache.transfer = _copy_missing
    return int(dvc_main(["--wait-for-lock", *arguments]))


def _value(content: Any, key: str, separator: str) -> Any:
    """Return the value of a key such as `training.epochs`."""
    value = content
    for part in key.split(separator):
        if not isinstance(value, Mapping) or part not in value:
            return dpath.get(content, key, separator=separator)
        value = value[part]
    return value


def _once_for_each_path(get_hash: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that remembers the hash of a file or folder, which many stages may depend on."""
    hashes: dict[str, Any] = {}

    def get_hash_once(output: Any) -> Any:
        if output.fs_path not in hashes:
            hashes[output.fs_path] = get_hash(output)
        return hashes[output.fs_path]

    return get_hash_once


def _copy_missing(_: StageCache, source: Any, target: Any, force: bool = True) -> list[tuple[str, str]]:
    """Copy what the other side lacks of the run cache. DVC copies all, file by file: the longer, the more runs."""
    del force
    here, there = ({one.fs.relpath(path, one.path) for path in one.fs.find(_runs(one))} for one in (source, target))
    missing = sorted(here - there)
    for name in missing:
        copy(source.fs, source.fs.join(source.path, name), target.fs, target.fs.join(target.path, name))
    return [(path.parent.name, path.name) for path in map(PurePosixPath, missing)]


def _runs(database: Any) -> str:
    return str(database.fs.join(database.path, "runs"))


@contextlib.contextmanager
def _modify_lock_file(path: str, fs: object = None) -> Iterator[dict[str, Any]]:
    """Yield a dictionary for the new entries of stages, and put them in the place of the old ones.

    What is written is what DVC would write, byte for byte; the text of all other stages stays as it is.
    """
    lock = Path(path)
    changes: dict[str, Any] = {}
    yield changes
    head = ""
    entries: dict[str, str] = {}
    for text in (lock.read_text(encoding="utf-8") if lock.exists() else "", dumps_yaml(changes)):
        # Of all lines, only names of stages are indented by two spaces.
        head, *blocks = re.split(r"(?m)^(?=  \S)", text)
        entries |= {block.partition(":\n")[0]: block for block in blocks}
    write_text(lock, head + "".join(entries.values()))


if __name__ == "__main__":
    commands: dict[str, Callable[..., int]] = {
        "read": read,
        "repro": repro,
        "restore": restore,
        "push": push,
        "work": work,
    }
    sys.exit(commands[sys.argv[1]](*sys.argv[2:]))
