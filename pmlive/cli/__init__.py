"""The commands: ``pmlive record``, ``demo``, ``search`` and the others; ``main`` runs one and gives its exit code.

Exit codes: 0 for success, also after Ctrl-C and SIGTERM, which seal what is open; 1 for a finding, such as a gap,
however it ended; 2 for bad usage or a recording that cannot be used. Results go to the standard output, everything else
to the standard error.
"""

import sys
from collections.abc import Callable, Sequence

from pmlive.cli.output import open_streams, settle_streams
from pmlive.cli.signals import Stop
from pmlive.logs import flush

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command with these arguments, by default the program's, and give its exit code."""
    open_streams()
    with Stop() as stop:
        try:
            # After the signals are listened to: a program that is ended while it loads shows no traceback either.
            run = _command(sys.argv[1:] if arguments is None else arguments)
            return run(arguments, stop)
        except KeyboardInterrupt:  # nothing is open where a signal comes as an exception
            return 0
        finally:
            flush()
            settle_streams()


def _command(arguments: Sequence[str]) -> Callable[[Sequence[str] | None, Stop], int]:
    """Load all commands, or the one whose first word a program waits for."""
    if list(arguments[:1]) == ["mcp"]:
        from pmlive.cli import mcp

        return mcp.run
    from pmlive.cli.commands import run

    return run
