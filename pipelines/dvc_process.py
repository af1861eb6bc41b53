"""DVC, in a process of its own, without work that it does again for each stage.

`python -m pipelines.dvc_process read` prints the graph and which stages have changed, as JSON;
`python -m pipelines.dvc_process repro STAGE` is `dvc repro --single-item STAGE`, and says only what the stage says.

For each stage, `dvc status` parses params.yaml and pyproject.toml, compares each parameter with all keys of the file,
and looks at the same folders of code, and `dvc repro` parses and writes the whole dvc.lock, in pure Python. With the
default experiments, that takes two thirds of their time.
"""

import contextlib
import functools
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dpath
import dvc.dependency.param
import dvc.dvcfile
from dvc.cli import main as dvc_main
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo, lock_repo
from dvc.utils.serialize import dumps_yaml

from unroll.files import write_text


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
    # DVC's messages below the level of a warning are left out: the flow reports progress.
    logging.disable(logging.INFO)
    dvc.dvcfile.modify_yaml = _modify_lock_file
    return int(dvc_main(["--wait-for-lock", "repro", "--single-item", stage]))


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
    sys.exit(read() if sys.argv[1] == "read" else repro(sys.argv[2]))
