"""The catalogue of faults: what goes wrong with venue, network, disk and process, and what must come of it.

Each row is tried with a simulated venue on loopback and ``pmlive record`` in a process of its own, and is judged by the
venue's own account: what was missed and is in no gap, which books were given though the venue's were others, how broad
the gaps are, how long it took until every book was back.
"""

from pmlive.cli.faults.catalogue import CATALOGUE
from pmlive.cli.faults.outcome import Outcome
from pmlive.cli.faults.page import page
from pmlive.cli.faults.row import Expected, Row
from pmlive.cli.faults.trial import attempt, attempt_all

__all__ = ["CATALOGUE", "Expected", "Outcome", "Row", "attempt", "attempt_all", "page"]
