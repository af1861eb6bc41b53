"""What the figures were measured on, in words."""

import os
import platform
import re
from datetime import date
from importlib.metadata import version
from pathlib import Path

CORES = 2
"""The targets are about so many."""
_PACKAGES = ("torch", "onnxruntime", "pyarrow", "dvc", "prefect")


def keep_to_cores() -> None:
    """Keeps this process, and all that it starts, to `CORES` of a bigger machine's cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def describe() -> str:
    """Date, processor, cores that were used, memory, load before, versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in _PACKAGES)])
    return (
        f"{date.today().isoformat()} on {_processor()}, {cores} cores, {memory:.0f} GiB; "
        f"load average before: {os.getloadavg()[0]:.1f}; {versions}"
    )


def _version(package: str) -> str:
    return version(package).partition("+")[0]


def _processor() -> str:
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except FileNotFoundError:  # no Linux
        model = None
    return model[1] if model else platform.processor() or platform.machine()
