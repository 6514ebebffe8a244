"""From events to proven books and rows: the one path that live data and replayed data take.

A pipeline has no clock and no I/O. What it is told, in order and with our receive time, decides every row; being told
the same again gives the same rows. A state is checked once its millisecond is past, since a burst of changes shares
the hash of the last; time passes on a grid of 100 ms of the receive times, so that checking does not depend on when
anyone looked.
"""

from pmlive.pipeline.books import Books
from pmlive.pipeline.core import Pipeline
from pmlive.pipeline.rows import Making
from pmlive.pipeline.token import Token

__all__ = ["Books", "Making", "Pipeline", "Token"]
