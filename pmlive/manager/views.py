"""A book of a manager, to look at."""

from datetime import datetime
from typing import Literal, TypeAlias

from pmlive.errors import BookError
from pmlive.events import Gap, epoch_ns
from pmlive.levels import Levels
from pmlive.pipeline import Token
from pmlive.times import moment, utc

__all__ = ["AwaitedError", "BookView", "view"]


class AwaitedError(BookError):
    """The opening book of a token is on its way."""


BookState: TypeAlias = Literal["verified", "unverifiable"]


class BookView(Levels, frozen=True, kw_only=True):
    """A trusted book at one moment: levels are (price in dollars per share, size in shares), best first.

    ``state`` is ``verified`` when the book had the venue's hash when it was checked last, which is up to 0.2 s after a
    change of it, and ``unverifiable`` when that could not be told. Empty sides have no price.
    """

    token_id: str
    market: str
    label: str
    state: BookState
    ts_event: datetime
    ts_recv: datetime

    def __repr__(self) -> str:
        """Show the top in one line."""
        return f"<Book of {self.label}: {self.best_bid} bid, {self.best_ask} ask, {self.state}>"

    def _repr_html_(self) -> str:
        return self.html(f"{self.label} ({self.state})")


def view(token: Token, label: str, depth: int | None, *, stopped: Gap | None = None) -> BookView:
    """Copy a book; while all that the process missed when it was ``stopped`` is not read yet there is none.

    Raises:
        BookError: the book cannot be trusted now.
    """
    if (gap := token.gap or stopped) is not None:
        back = "the next whole book or a hash that fits" if token.gap else "what was sent meanwhile has been read"
        raise BookError(
            f"the book of {label} cannot be trusted since {utc(gap.started)} UTC ({gap.cause}: {gap.detail}); "
            f"it is back after {back}",
            cause=gap.cause,
            since=moment(gap.started),
        )
    if token.over and not token.conn:
        raise BookError(f"the market of {label} was resolved; it has no book any more")
    if not token.conn:
        raise AwaitedError(f"the book of {label} has not come yet; try again in a moment")
    return BookView(
        token_id=token.id,
        market=token.market,
        label=label,
        bids=token.book.levels("bid", depth),
        asks=token.book.levels("ask", depth),
        state="verified" if token.verified() else "unverifiable",
        ts_event=moment(epoch_ns(token.timestamp)),
        ts_recv=moment(token.heard),
    )
