"""What a pipeline that is told the raw records of a recording has at a time, against what the recording says."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from pmlive.pipeline import Pipeline
from pmlive.pipeline.journal import apply
from pmlive.recording import RecordedBook
from pmlive.store import Record

__all__ = ["Books", "differences", "faithful"]

# A state is checked so many nanoseconds after its change at the latest.
_CHECKED_WITHIN = 200_000_000


class Books(Protocol):
    """Gives the book of a token at a time."""

    def book_at(self, token: str, t: int, /) -> RecordedBook:
        """Make a book."""
        ...


class Told:
    """What was compared, for a test that wants enough of each."""

    def __init__(self) -> None:
        self.equal = 0
        self.verified = 0
        self.stale = 0
        # Stale though the pipeline did not know it yet: what was found out later is said of the time before, too.
        self.earlier = 0


def faithful(records: Sequence[Record], books: Books, tokens: Iterable[str], times: Iterable[int]) -> Told:
    """Compare at each time every token's book, and say how much there was of each kind."""
    pipeline, told, at = Pipeline(), Told(), 0
    tokens = list(tokens)
    for time in sorted(times):
        while at < len(records) and records[at].recv <= time:
            apply(pipeline, records[at])
            at += 1
        if pipeline.links or pipeline.books.tokens:
            pipeline.tick(time)
        for token_id in tokens:
            differences(pipeline, books.book_at(token_id, time), token_id, told, time)
    return told


def differences(pipeline: Pipeline, book: RecordedBook, token_id: str, told: Told, time: int) -> None:
    token = pipeline.books.tokens.get(token_id)
    if book.quality == "stale":
        told.stale += 1
        if token is not None and token.trusted():
            told.earlier += 1
            # Only a gap that is known by now, or the end of the recording, may say more than was known then.
            assert "not to be trusted since" in book.why or "the recording ends" in book.why, book
        return
    assert token is not None, f"{book} of a token that was not followed"
    assert token.trusted(), f"{book}, but {token.gap}"
    assert book.bids == token.book.levels("bid"), str(book)
    assert book.asks == token.book.levels("ask"), str(book)
    told.equal += 1
    if book.quality == "verified":
        told.verified += 1
        assert token.verified() or time - token.heard <= _CHECKED_WITHIN, f"{book}, which nothing proves"
