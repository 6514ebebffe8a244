"""The pipeline: told what happened, it keeps the books and the rows."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import polars as pl

from pmlive.errors import ProtocolError
from pmlive.events import (
    Activity,
    BookSnapshot,
    Cause,
    Channel,
    Control,
    Event,
    Gap,
    Malformed,
    MarketResolved,
    NewMarket,
    PriceChange,
    ReferencePrice,
    StreamNumber,
    TickSizeChange,
    Trade,
    Unknown,
    UserOrder,
    UserTrade,
    epoch_ns,
)
from pmlive.pipeline import rows
from pmlive.pipeline.books import Books
from pmlive.pipeline.kinds import Kind, Kinds, Take
from pmlive.pipeline.repeats import Repeats
from pmlive.pipeline.sequences import Sequences
from pmlive.pipeline.sheets import Making, Sheets

__all__ = ["Link", "Pipeline"]

_GRID = 100_000_000
_MINUTE = 60_000_000_000


class Link(msgspec.Struct):
    """A connection epoch: its channel, the tokens it carries, and when it began (nanoseconds)."""

    channel: Channel
    tokens: set[str]
    opened: int
    gap: Gap | None = None


class Pipeline:
    """Books, checks and rows of everything that is received.

    Args:
        depth: levels a side in the rows of ``depth``.
        hashes: whether the venue's book hashes are checked.
        making: whether rows are made of every level change and book, which only a recording has.
    """

    def __init__(self, *, depth: int = 10, hashes: bool = True, making: Making = "all") -> None:
        self._depth = depth
        self._sheets = Sheets(making=making)
        self.books = Books(self._sheets, refuse=self._refuse, hashes=hashes)
        self._pasts = self.books.pasts
        self.repeats = Repeats()
        self.sequences = Sequences()
        self.links: dict[int, Link] = {}
        self._next = 0
        self._minute = 0
        # When each connection last told something of what it was asked for.
        self.heard: dict[int, int] = {}
        self.unknown: dict[str, int] = {}
        # Markets whose outcome is known: when it was told, and of which tokens.
        self.resolved: dict[str, tuple[int, list[str]]] = {}
        self.last_malformed: Malformed | None = None
        self._malformed = 0
        self._kinds = Kinds(self._kind)
        self._told: int | None = None
        # Whether everything was judged and written, with nothing told since.
        self.ended = False

    @property
    def seq(self) -> int:
        """The number that the next row or frame gets."""
        return self._sheets.seq

    @seq.setter
    def seq(self, value: int) -> None:
        self._sheets.seq = max(self._sheets.seq, value)

    def at(self, seq: int, now: int) -> None:
        """Note the number and the time at which the next thing happened, as it was written down."""
        self.tick(now)
        self.seq = seq

    @property
    def counts(self) -> dict[str, int]:
        """Give the number of messages by the name of their event."""
        return self._kinds.counts() | ({"malformed": self._malformed} if self._malformed else {})

    @property
    def duplicates(self) -> dict[str, int]:
        """Give the number of messages that came again, by table; of level changes, each."""
        of_levels = {"book_deltas": self.books.duplicates} if self.books.duplicates else {}
        return of_levels | self.repeats.counts

    def make(self, making: Making) -> None:
        """Make rows of every level change and book from now on, or only those of the rolling frames."""
        self._sheets.make(making)

    # --- what happens, in order ---

    def opened(
        self, conn: int, channel: Channel, tokens: Iterable[str], now: int, *, replaces: int | None = None
    ) -> None:
        """Note a connection, what it was asked for, and which broken one it takes the place of."""
        self.tick(now)
        self.links[conn] = Link(channel, set(), now)
        broken = self.links.pop(replaces, None) if replaces is not None else None
        if broken is not None and broken.gap is not None:
            self.books.trust.write(broken.gap, now, ended=now)
        self.subscribed(conn, tokens, now)

    def subscribed(self, conn: int, tokens: Iterable[str], now: int) -> None:
        """Note tokens that a connection was asked for."""
        self.tick(now)
        for token_id in tokens:
            token = self.books.await_book(token_id, now)
            token.link = conn
            self.links[conn].tokens.add(token.id)

    def wanted(self, tokens: Iterable[str], now: int) -> None:
        """Note tokens that are wanted while there is no connection to ask for them."""
        self.tick(now)
        for token_id in tokens:
            self.books.await_book(token_id, now)

    def unsubscribed(self, conn: int, tokens: Iterable[str], now: int) -> None:
        """Note tokens that are no longer wanted; a gap that one has ends here."""
        self.tick(now)
        link = self.links.get(conn)
        for token_id in tokens:
            if link is not None:
                link.tokens.discard(token_id)
            self.books.drop(token_id, now)

    def closed(self, conn: int, cause: Cause | None, detail: str, now: int) -> None:
        """Note the end of a connection; without a cause it was meant, and nothing is missing."""
        self.tick(now)
        link, heard = self.links[conn], self.heard.pop(conn, self.links[conn].opened)
        self.books.pasts.pop(conn, None)
        self.sequences.drop(conn)
        if cause is None:
            del self.links[conn]
            if link.gap is not None:
                self.books.trust.write(link.gap, now, ended=now)
            for token_id in link.tokens & self.books.tokens.keys():
                self.books.release(token_id)
            return
        link.gap = Gap(started=heard, cause=cause, detail=detail, conn=conn)
        for token_id in link.tokens:
            self.books.lose(token_id, cause, heard, now, detail)

    def missed(self, gap: Gap, now: int) -> None:
        """Note an interval that somebody else knows of: silence, a late opening book, a full disk, a restart."""
        self.tick(now)
        if gap.token_id is None or gap.ended is not None:
            self.books.trust.write(gap, now, ended=gap.ended)
        elif gap.token_id in self.books.tokens:
            token = self.books.tokens[gap.token_id]
            self.books.trust.lose(token, gap.cause, gap.started, now, gap.detail)

    def received(self, conn: int, events: Sequence[Event], recv: int, frame: bytes = b"", seq: int = 0) -> None:
        """Take the events of one frame; level changes come with the frame as received.

        One that was written down has the number ``seq`` there.
        """
        if recv >= self._next:
            self.tick(recv)
        if seq > self._sheets.seq:  # noqa: PLR1730  # calling max costs as much as all of this
            self._sheets.seq = seq
        self._sheets.seq += 1
        for event in events:
            kind = self._kinds[type(event)]
            kind.count += 1
            kind.take(event, conn, recv)
            if kind.repeatable:
                self._pasts[conn].note(frame if len(events) == 1 else msgspec.json.encode(event))
            if kind.telling:
                self.heard[conn] = recv

    def tick(self, now: int) -> None:
        """Note that time has passed."""
        if not self._next:
            self._next = now // _GRID * _GRID + _GRID
            self._minute = now // _MINUTE * _MINUTE
        while self._next <= now:
            if self.books.idle:
                self._skip(now)
                return
            self._boundary(self._next)
            self._next += _GRID

    def _skip(self, now: int) -> None:
        """Pass over a stretch in which nothing is left to judge, but not over the end of a minute."""
        self._boundary(self._next)
        if now - self._minute >= _MINUTE:
            self._boundary(self._minute + _MINUTE)
        self._next = now // _GRID * _GRID + _GRID
        self._minute = max(self._minute, now // _MINUTE * _MINUTE)

    def _boundary(self, at: int) -> None:
        self.books.judge.boundary(at, at - _GRID)
        self.books.depth_rows(at, self._depth)
        if at - self._minute >= _MINUTE:
            self.books.check_rows(self._minute)
            self._minute = at // _MINUTE * _MINUTE

    # --- what comes out ---

    def drain(self) -> dict[str, pl.DataFrame]:
        """Give up the complete rows of every table that has some."""
        return self._sheets.take(self.books.judge.unsettled)

    def told(self, now: int) -> None:
        """Note the time of what was told last, where ``finish`` ends if nothing more comes."""
        self._told, self.ended = now, False

    def restart(self) -> None:
        """Forget everything: what follows was kept by another run, or after a pause, and tells the whole state."""
        if self._told is not None:
            self.finish(self._told)
        self._clear()

    def forget(self) -> None:
        """Forget everything, rows too: what follows is no continuation."""
        self.books.judge.settle_all()
        self._clear()
        self.resolved.clear()
        self.drain()
        self._sheets.seq = 1

    def _clear(self) -> None:
        self.books.clear()
        self.links.clear()
        self.heard.clear()
        self.repeats.clear()
        self.sequences.clear()
        self._told, self.ended = None, False
        self._next = 0

    def finish(self, now: int) -> None:
        """Judge everything now and write what is open: the counts of the minute, and gaps that have no end yet."""
        self._told, self.ended = None, True
        self.settle(now)
        self.books.check_rows(self._minute)
        for gap in self.open_gaps() + self.books.unmet(now):
            self.books.trust.write(gap, now, ended=None)

    def begin(self, now: int) -> None:
        """Settle and write what was counted so far, so that a recording that begins here counts its own checks."""
        self.settle(now)
        self.books.check_rows(self._minute)

    def settle(self, now: int) -> None:
        """Judge and show everything now, so that rows and state can be cut here."""
        self.tick(now)
        self.books.judge.settle_all()
        self.books.depth_rows(now, self._depth)

    def open_gaps(self) -> list[Gap]:
        """List the gaps that have not ended."""
        gaps = [link.gap for link in self.links.values() if link.gap is not None]
        return gaps + [token.gap for token in self.books.tokens.values() if token.gap is not None]

    # --- each kind of event ---

    def _kind(self, kind: type) -> Kind:
        """Find what takes a kind of event by its bases: the wire's types derive from ours."""
        table: dict[type, Take] = {
            PriceChange: self.books.price_change,
            BookSnapshot: self.books.snapshot,
            Trade: self._trade,
            TickSizeChange: self._row("market_events", rows.market_event, first=self.books.tick_size),
            NewMarket: self._row("market_events", rows.market_event),
            MarketResolved: self._resolution,
            UserOrder: self._row("user_orders", rows.user_order),
            UserTrade: self._row("user_trades", rows.user_trade),
            Activity: self._row("activity", rows.activity),
            ReferencePrice: self._row("reference_prices", rows.reference_price),
            StreamNumber: self._numbered,
            Malformed: self._refused,
            Unknown: self._unknown,
        }
        take = next((table[base] for base in kind.__mro__ if base in table), _pass_over)
        quiet = issubclass(kind, (Control, NewMarket))
        return Kind(take, telling=not quiet, repeatable=issubclass(kind, PriceChange))

    def _trade(self, event: Trade, conn: int, recv: int) -> None:
        token = self.books.tokens.get(event.token_id)
        if token is None:
            return
        try:
            values = rows.trade(event)
        except ProtocolError as error:
            self._refuse(event, str(error), event.token_id, conn, recv)
            return
        token.heard = recv
        if self.repeats.has("trades", event, conn, recv):
            return
        token.messages += 1
        token.proof.announced = event.price
        self._sheets.put("trades", epoch_ns(event.timestamp), recv, conn, values)

    def _row(
        self, table: str, layout: Callable[[Any], tuple[object, ...]], *, first: Callable[[Any], None] | None = None
    ) -> Take:
        """Give what makes a row of a message that is new, when something else was done with it ``first``."""

        def handle(event: Any, conn: int, recv: int) -> None:  # noqa: ANN401  # each layout takes its own kind
            try:
                values = layout(event)
            except ProtocolError as error:
                self._refuse(event, str(error), getattr(event, "token_id", None), conn, recv)
                return
            if self.repeats.has(table, event, conn, recv):
                return
            if first is not None:
                first(event)
            ts_event = None if event.timestamp is None else epoch_ns(event.timestamp)
            self._sheets.put(table, ts_event, recv, conn, values)

        return handle

    def _resolution(self, event: MarketResolved, conn: int, recv: int) -> None:
        self.resolved.setdefault(event.market, (recv, event.token_ids))
        self._row("market_events", rows.market_event)(event, conn, recv)

    def _numbered(self, event: StreamNumber, conn: int, recv: int) -> None:
        link = self.links.get(conn)
        gap = self.sequences.missing(event, conn, recv, opened=recv if link is None else link.opened)
        if gap is not None:
            self.books.trust.write(gap, recv, ended=gap.ended)

    def _unknown(self, event: Unknown, _conn: int, _recv: int) -> None:
        self.unknown[event.kind] = self.unknown.get(event.kind, 0) + 1

    def _refuse(self, event: msgspec.Struct, reason: str, token_id: str | None, conn: int, recv: int) -> None:
        """Take a message that was read, but whose values cannot be."""
        head = msgspec.json.encode(event).decode()[:1024]
        self._refused(Malformed(head, reason, token_id), conn, recv)

    def _refused(self, event: Malformed, conn: int, recv: int) -> None:
        """A message that cannot be read may have changed a book: its token's, or nobody knows whose."""
        self._malformed += 1
        self.last_malformed = event
        token = self.books.tokens.get(event.token_id or "")
        if token is not None and token.conn == conn:
            self.books.trust.lose(token, "malformed", token.proved, recv, event.reason)
        else:
            gap = Gap(started=recv, cause="malformed", token_id=event.token_id, detail=event.reason, conn=conn)
            self.books.trust.write(gap, recv, ended=recv)


def _pass_over(_event: Event, _conn: int, _recv: int) -> None:
    """Take an event that makes no row."""
