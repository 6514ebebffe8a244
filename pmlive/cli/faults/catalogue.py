"""All rows: what can go wrong, and what must come of it."""

from pmlive.cli.faults.connections import CONNECTIONS
from pmlive.cli.faults.messages import MESSAGES
from pmlive.cli.faults.processes import PROCESSES
from pmlive.cli.faults.row import Row
from pmlive.cli.faults.silences import SILENCES

__all__ = ["CATALOGUE"]

CATALOGUE: tuple[Row, ...] = (*CONNECTIONS, *SILENCES, *MESSAGES, *PROCESSES)
