"""The commands: ``pmlive record``, ``demo``, ``search`` and the others; ``main`` runs one and gives its exit code.

Exit codes: 0 for success, also after Ctrl-C and SIGTERM, which seal what is open; 1 for a finding, such as a gap; 2 for
bad usage or a recording that cannot be used. Results go to the standard output, everything else to the standard error.
"""

from collections.abc import Sequence

from pmlive.cli.signals import Stop

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command with these arguments, by default the program's, and give its exit code."""
    with Stop() as stop:
        try:
            # After the signals are listened to: a program that is ended while it loads shows no traceback either.
            from pmlive.cli.commands import run

            return run(arguments, stop)
        except KeyboardInterrupt:  # nothing is open where a signal comes as an exception
            return 0
