"""All commands of the program."""

from collections.abc import Sequence

from pmlive.cli import browse, demo, doctor, examine, export, mcp, mend, play, record, running, simulate
from pmlive.cli.signals import Stop

__all__ = ["run"]

_GROUPS = (demo, record, browse, examine, play, export, mend, mcp, simulate, doctor)


def run(arguments: Sequence[str] | None, stop: Stop) -> int:
    """Run the command that the arguments name, and give its exit code."""
    return running.run([group.add for group in _GROUPS], arguments, stop)
