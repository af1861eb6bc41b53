"""`python -m unroll.cli COMMAND …` is `unroll COMMAND …`."""

import sys

from unroll.cli import main

if __name__ == "__main__":
    sys.exit(main())
