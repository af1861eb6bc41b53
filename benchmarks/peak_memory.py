"""`unroll …` in a process of its own that prints, in its last line, the peak of its and its worker's memory."""

import resource
import sys
from pathlib import Path

from unroll.cli import main


def peak_bytes() -> int:
    """Return the most memory that this process has held in RAM, plus that of its largest child."""
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except FileNotFoundError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + child
    # On Linux, getrusage also counts what the parent held when it started this process.
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 + child


if __name__ == "__main__":
    code = main()
    print(peak_bytes())
    sys.exit(code)
