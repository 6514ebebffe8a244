"""The catalogue of faults: what goes wrong with venue, network, disk and process, and what must come of it.

Each case is tried with a simulated venue on loopback and ``pmlive record`` in a process of its own, and is judged by
the venue's own account: what was missed and is in no gap, which books were given though the venue's differed, how broad
the gaps are, how long it took until every book was back.
"""

from pmlive.cli.faults.attempts import attempt, attempt_all
from pmlive.cli.faults.cases import Expected, FaultCase, Outcome, report
from pmlive.cli.faults.connections import CONNECTIONS, MESSAGES, SILENCES
from pmlive.cli.faults.processes import PROCESSES

__all__ = ["CATALOGUE", "Expected", "FaultCase", "Outcome", "attempt", "attempt_all", "report"]

CATALOGUE: tuple[FaultCase, ...] = (*CONNECTIONS, *SILENCES, *MESSAGES, *PROCESSES)
