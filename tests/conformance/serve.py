"""A notebook's kernel in short: a manager of the simulated venue, served until the standard input ends."""

import sys

from pmlive import Manager


def main() -> None:
    """Serve, and say where."""
    with Manager(venue="sim") as manager:
        sys.stdout.write(f"{manager.serve_mcp().url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
