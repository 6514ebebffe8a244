"""The command line: ``pmlive record``, ``demo``, ``search`` and the others.

Exit codes: 0 for success, also after Ctrl-C and SIGTERM, which seal what is open; 1 for a finding such as a gap,
however the command ended; 2 for bad usage or a recording that cannot be used. Results go to the standard output,
everything else to the standard error.
"""

from collections.abc import Sequence

from pmlive.cli.terminal import Stop, fill_closed_streams, flush_streams
from pmlive.logs import flush

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command with these arguments, by default the program's, and return its exit code."""
    fill_closed_streams()
    with Stop() as stop:
        try:
            # Loaded after signals are handled, so that a program ended while it loads shows no traceback.
            from pmlive.cli.commands import run

            return run(arguments, stop)
        except KeyboardInterrupt:  # signals raise it only while nothing is open
            return 0
        finally:
            flush()
            flush_streams()
