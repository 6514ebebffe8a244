"""The catalogue of faults: what goes wrong with venue, network, disk and process, and what must come of it.

Each case is tried with a simulated venue on loopback and ``pmlive record`` in a process of its own, and is judged by
the venue's own account: what was missed and is in no gap, which books were given though the venue's differed, how broad
the gaps are, how long it took until every book was back.
"""

from pmlive.cli.faults.attempts import Outcome, attempt, attempt_all, report
from pmlive.cli.faults.cases import CATALOGUE
from pmlive.cli.faults.trial import Expected, FaultCase

__all__ = ["CATALOGUE", "Expected", "FaultCase", "Outcome", "attempt", "attempt_all", "report"]
