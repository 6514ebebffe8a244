"""The catalogue of faults: what goes wrong with venue, network, disk and process, and what must follow.

Each case is tried with a simulated venue on loopback and ``pmlive record`` in a process of its own, and judged by what
the venue sent: which changes were missed outside of any gap, which books were given although the venue's differed, how
broad the gaps are, and how long it took until every book was back.
"""

from pmlive.cli.faults.attempts import Outcome, attempt, attempt_all, report
from pmlive.cli.faults.cases import CATALOGUE
from pmlive.cli.faults.trial import Expected, FaultCase

__all__ = ["CATALOGUE", "Expected", "FaultCase", "Outcome", "attempt", "attempt_all", "report"]
