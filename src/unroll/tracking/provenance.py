"""What a run was made from: git commit, and DVC's hashes of its data."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

_LOCK = Path("dvc.lock")
_ATTEMPTS = 20


def git_state() -> dict[str, Any]:
    """Return `git_commit`, and `git_dirty`: whether files differ from it, apart from dvc.lock, which a run writes.

    Both are None outside a git repository.
    """

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)  # noqa: S607 -- PATH's git is meant
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": None if changes is None else bool(changes)}


def data_hashes(*folders: Path) -> dict[str, str]:
    """Return DVC's md5 of those folders that `dvc.lock` lists; empty if there is no such file.

    Another DVC process may be writing the file at this moment, so a missing folder is looked up again for two seconds.
    """
    hashes: dict[str, str] = {}
    for _ in range(_ATTEMPTS):
        if not _LOCK.exists():
            return {}
        hashes = _hashes(_LOCK.read_text(encoding="utf-8"))
        if all(str(folder) in hashes for folder in folders):
            break
        time.sleep(0.1)
    return {str(folder): hashes[str(folder)] for folder in folders if str(folder) in hashes}


def _hashes(lock: str) -> dict[str, str]:
    """Return path → md5 of every output in a lock file; truncated entries are left out."""
    try:
        # The file has thousands of lines, which take a second without libyaml.
        stages = (yaml.load(lock, Loader=yaml.CSafeLoader) or {}).get("stages") or {}
        outputs = [out for stage in stages.values() for out in (stage or {}).get("outs") or []]
        pairs = {str(out["path"]): str(out["md5"]) for out in outputs if "md5" in out}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        return {}
    return {path: md5 for path, md5 in pairs.items() if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5)}
