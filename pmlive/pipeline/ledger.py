"""What books go through, as rows."""

from pmlive.book import PRICES, SIZES, Book
from pmlive.buffers import ladder
from pmlive.events import BookSnapshot, LevelChange, epoch_ns
from pmlive.integrity import Counts
from pmlive.pipeline.sheets import Sheets
from pmlive.pipeline.token import EMPTY, SIDES, Token

__all__ = ["Ledger"]


class Ledger:
    """Writes level changes, books, tops, ladders and counts of checks into their tables."""

    def __init__(self, sheets: Sheets) -> None:
        self._sheets = sheets
        self._deltas, self._prices = sheets.book_deltas, sheets.prices
        sides, checks = self._deltas.words["side"], self._deltas.words["check"]
        self._side_numbers = {word: sides[side] for word, side in SIDES.items()}
        self._skipped, self._unjudged = checks["skipped"], checks["unverifiable"]

    def delta(  # a row has many columns
        self, token: Token, change: LevelChange, timestamp: int, conn: int, recv: int, *, judged: bool = True
    ) -> int:
        """Write a level change; give the place of its row, in which what its check found is set later.

        The caller goes on to the next number of ``seq``, since level changes take numbers also where they make no rows.
        One that is not ``judged``, or is on a doubtful book, has no check.
        """
        deltas, bid, ask = self._deltas, change.best_bid, change.best_ask
        place = deltas.taken + len(deltas.buffer)
        row = deltas.pack(
            self._sheets.seq,
            timestamp,
            recv,
            conn,
            token.number,
            token.market_number,
            self._side_numbers[change.side],
            PRICES[change.price],
            SIZES[change.size],
            EMPTY if bid is None else bid,
            EMPTY if ask is None else ask,
            self._unjudged if judged and token.gap is None else self._skipped,
        )
        deltas.put(row)
        return place

    def snapshot(self, token: Token, event: BookSnapshot, book: Book, conn: int, recv: int) -> None:
        """Write a whole book.

        Raises:
            ProtocolError: one of its further numbers is none.
        """
        tick = PRICES[event.tick_size] if event.tick_size else None
        last = PRICES[event.last_trade_price] if event.last_trade_price else None
        if self._sheets.storing:
            values = (token.id, event.market, *_ladders(book), event.hash, token.conn != conn, tick, last)
            self._sheets.put("book_snapshots", epoch_ns(event.timestamp), recv, conn, values)
        else:
            self._sheets.seq += self._sheets.numbers

    def top(self, token: Token, timestamp: int, recv: int) -> None:
        """Write the top of a book, unless it is as it was."""
        bids, asks, sheets = token.book.bids, token.book.asks, self._sheets
        bid = bid_size = ask = ask_size = EMPTY
        if bids.keys:
            bid, bid_size = -bids.keys[0], bids.sizes[0]
        if asks.keys:
            ask, ask_size = asks.keys[0], asks.sizes[0]
        top = bid, bid_size, ask, ask_size
        if top == token.shown:
            return
        token.shown = top
        conn, number, market = token.conn, token.number, token.market_number
        row = self._prices.pack(sheets.seq, timestamp, recv, conn, number, market, bid, bid_size, ask, ask_size)
        self._prices.put(row)
        sheets.seq += 1

    def depth(self, token: Token, at: int, depth: int) -> None:
        """Write the best levels of a book.

        Such a row takes no number of its own: it is in no recording, and what is must be numbered the same without it.
        """
        common = (self._sheets.seq, epoch_ns(token.timestamp), at, token.conn)
        self._sheets.rows["depth"].put((*common, token.id, token.market, *_ladders(token.book, depth)))

    def keyframe(self, token: Token, now: int, *, alone: bool) -> None:
        """Write a book and what is thought of it, with all others or alone."""
        gap = token.gap
        doubt = (None, None, None) if gap is None else (gap.started, gap.cause, gap.detail)
        values = (token.id, token.market, *_ladders(token.book), token.state, *doubt, alone)
        ts_event = epoch_ns(token.timestamp) if token.timestamp else None
        self._sheets.put("keyframes", ts_event, now, token.conn, values)

    def checks(self, token: Token, minute: int) -> None:
        """Write and reset the counts of a minute (nanoseconds since 1970)."""
        values = token.counts.values()
        if any(values):
            self._sheets.put("checks", None, minute, token.conn, (token.id, *values))
            token.total = Counts.total((token.total, token.counts))
            token.counts = Counts()


def _ladders(book: Book, depth: int | None = None) -> tuple[bytes, ...]:
    bids, asks = book.bids, book.asks
    return tuple(map(ladder, (bids.keys[:depth], bids.sizes[:depth], asks.keys[:depth], asks.sizes[:depth])))
