"""``python -m pmlive``: the commands, where no script of that name is on the path."""

import sys

from pmlive.cli import main

if __name__ == "__main__":
    sys.exit(main())
