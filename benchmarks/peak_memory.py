"""`unroll …` in a process of its own that says, in its last line, how much memory it took at most."""

import resource
import sys
from pathlib import Path

from unroll.cli import main


def peak_bytes() -> int:
    """The most memory that this process has held in RAM."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except FileNotFoundError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # On Linux, getrusage also counts what the parent held when it started this process.
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    code = main()
    print(peak_bytes())
    sys.exit(code)
