"""The pipeline: told what happened, it keeps the books and the rows."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
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
from pmlive.pipeline.checks import UnknownKinds, shortened
from pmlive.pipeline.handlers import Handler, Handlers, Take
from pmlive.pipeline.keyframes import StateParts
from pmlive.pipeline.repeats import RecentChanges, Repeats, StreamNumbers
from pmlive.pipeline.rows import Making, RowBuffers
from pmlive.pipeline.token import Token
from pmlive.records import LinkState, Parts, TokenState
from pmlive.times import LONGEST_LATENCY_NS

__all__ = ["Link", "Pipeline"]

_GRID = 100_000_000
_MINUTE = 60_000_000_000
# Channels whose connections present no credentials.
_WITHOUT_CREDENTIALS: frozenset[Channel] = frozenset(("market", "realtime"))


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
        self._buffers = RowBuffers(making=making)
        self.books = Books(self._buffers, refuse=self._refuse, hashes=hashes)
        self._recent = self.books.recent
        self.repeats = Repeats()
        self.sequences = StreamNumbers()
        self.links: dict[int, Link] = {}
        self._next = 0
        self._minute = 0
        # When each connection last told something of what it was asked for, and when it last told nothing of that.
        self.heard: dict[int, int] = {}
        self.last_control: dict[int, int] = {}
        # Markets whose outcome is known: when it was told first, and what.
        self.resolved: dict[str, tuple[int, MarketResolved]] = {}
        self.unknown_kinds = UnknownKinds()
        self.parts = StateParts()
        # Since records could not be read: what is unknown of connections and tokens is learnt from what they bring.
        # Without those that tell the whole state the books are unknown up to the next that do (``_blank``).
        self._loss: Gap | None = None
        self._blank = False
        # Since the process did not run, up to when all that was sent meanwhile has been read.
        self.stopped: Gap | None = None
        self._malformed = 0
        self._handlers = Handlers(self._handler)
        self._told: int | None = None
        # Whether everything was checked and written, with nothing told since.
        self.ended = False

    @property
    def seq(self) -> int:
        """The number that the next row or frame gets."""
        return self._buffers.seq

    @seq.setter
    def seq(self, value: int) -> None:
        self._buffers.seq = max(self._buffers.seq, value)

    def at(self, seq: int, now: int) -> None:
        """Note the number and the time at which the next thing happened, as it was written down."""
        self.tick(now)
        self.seq = seq

    @property
    def counts(self) -> dict[str, int]:
        """The number of messages by the name of their event."""
        return self._handlers.counts() | ({"malformed": self._malformed} if self._malformed else {})

    @property
    def unknown(self) -> dict[str, int]:
        """The number of messages of each unknown kind."""
        return self.unknown_kinds.counts

    @property
    def duplicates(self) -> dict[str, int]:
        """The number of messages that came again, by table; of level changes, each."""
        of_levels = {"book_deltas": self.books.duplicates} if self.books.duplicates else {}
        return of_levels | self.repeats.counts

    def make(self, making: Making) -> None:
        """Make rows of every level change and book from now on, or only those of the rolling frames."""
        self._buffers.make(making)

    # --- what happens, in order ---

    def opened(
        self, conn: int, channel: Channel, tokens: Iterable[str], now: int, *, replaces: int | None = None
    ) -> None:
        """Note a connection, what it was asked for, and which broken one it takes the place of."""
        self.tick(now)
        self.links[conn] = Link(channel, set(), now)
        broken = self.links.pop(replaces, None) if replaces is not None else None
        if broken is not None and broken.gap is not None:
            self.books.gaps.write(broken.gap, now, ended=now)
        self.subscribed(conn, tokens, now)

    def subscribed(self, conn: int, tokens: Iterable[str], now: int) -> None:
        """Note tokens that a connection was asked for."""
        self.tick(now)
        for token_id in tokens:
            token = self.books.await_book(token_id, now)
            token.link = conn
            if conn in self.links:
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

    def closed(self, conn: int, cause: Cause | None, detail: str, now: int, *, since: int | None = None) -> None:
        """Note the end of a connection; without a cause it was meant, and nothing is missing.

        What the venue sent before ``since`` had come; where that is not known, what came before the last data.
        """
        self.tick(now)
        link = self.links.get(conn)
        if link is None:
            self.unread(conn, "a connection ended of which no record tells that it began", now)
            return
        heard = self.heard.pop(conn, link.opened)
        if since is not None:
            heard = min(since, now)
        self.last_control.pop(conn, None)
        self.unknown_kinds.drop(conn)
        self.books.recent.pop(conn, None)
        self.sequences.drop(conn)
        if cause is None:
            del self.links[conn]
            if link.gap is not None:
                self.books.gaps.write(link.gap, now, ended=now)
            for token_id in link.tokens & self.books.tokens.keys():
                self.books.release(token_id)
            return
        if not self._is_over(link):
            link.gap = Gap(started=heard, cause=cause, detail=detail, conn=conn)
        for token_id in link.tokens:
            self.books.lose(token_id, cause, heard, now, detail)

    def missed(self, gap: Gap, now: int) -> None:
        """Note an interval in which something is missing: silence, a late opening book, a full disk, a restart."""
        self.tick(now)
        if gap.token_id is None or gap.ended is not None:
            self.books.gaps.write(gap, now, ended=gap.ended)
            if gap.token_id is None and not gap.conn and gap.cause == "silence":
                self._note_stop(gap)
        elif (token := self.books.tokens.get(gap.token_id)) is not None:
            if gap.cause == "restart" and token.awaited:
                self.books.gaps.follow(token, gap)
            else:
                self.books.distrust(token, gap.cause, gap.started, now, gap.detail)

    def _note_stop(self, gap: Gap) -> None:
        """Note that a gap of the whole process began, or that the one with this beginning ended."""
        if gap.ended is None:
            self.stopped = gap
        elif self.stopped is not None and self.stopped.started == gap.started:
            self.stopped = None

    def state_parts(self, told: Parts) -> None:
        """Note that the present state will be written in parts; the numbers before this one are those of its rows."""
        self.parts.begin(told, self.seq)
        self.seq += 1
        self.books.places = told.places
        self.books.load_beside(told.beside)

    def token(self, state: TokenState, now: int) -> None:
        """Go on with a token from what was written down, unless it is known."""
        if not self.parts.note(state.token_id, state.at):
            # The others did not come: this is no row among theirs.
            self.books.load(msgspec.structs.replace(state, at=0, row=0), now, alone=True)
            return
        self.books.load(state, now)

    def link(self, conn: int, state: LinkState) -> None:
        """Go on with a connection from what was written down, unless it is known."""
        self.parts.note(conn, state.at)
        if conn in self.links:
            return
        self.links[conn] = Link(state.channel, set(state.tokens), state.opened, state.gap)
        self.heard[conn] = state.heard
        if state.frame:
            self.last_control[conn] = state.frame
        self.books.recent[conn] = RecentChanges(state.past)
        self.unknown_kinds.load(conn, state.strange)
        self.sequences.load(conn, state.numbers)

    def lost(self, gap: Gap, now: int, *, beginning: bool) -> None:
        """Note that records before this one cannot be read: what they did to the books is unknown.

        With the ``beginning`` of a segment, or a part of it, the state of everything is lost, which is then unknown up
        to its end.
        """
        self.tick(now)
        beginning = beginning or self.parts.awaited
        if beginning:
            self._clear()
        else:
            self.books.gaps.write(gap, now, ended=gap.ended)
        for token in self.books.tokens.values():
            self.books.distrust(token, gap.cause, gap.started, now, gap.detail)
        # What is missing among the numbers may be in the records that are lost.
        self.sequences.clear()
        self._loss, self._blank = gap, self._blank or beginning

    def unread(self, conn: int, reason: str, now: int) -> None:
        """Note a record that cannot be read, or of a kind that is not known: whatever it did to the books is missing.

        One of no connection may be about all.
        """
        self._malformed += 1
        tokens = self.books.carried(conn) if conn else list(self.books.tokens.values())
        self._distrust(tokens, conn, now, reason)
        if self._loss is None:
            self._loss = Gap(started=now, cause="malformed", detail=reason, conn=conn)

    def received(self, conn: int, events: Sequence[Event], recv: int, frame: bytes = b"", seq: int = 0) -> None:
        """Take the events of one frame; level changes come with the frame as received.

        One that was written down has the number ``seq`` there.
        """
        if recv >= self._next:
            self.tick(recv)
        if seq > self._buffers.seq:  # noqa: PLR1730  # calling max costs as much as all of this
            self._buffers.seq = seq
        self._buffers.seq += 1
        if self._loss is not None:
            self._meet(conn, events, recv, self._loss)
        last = self.last_control
        for event in events:
            handler = self._handlers[type(event)]
            handler.count += 1
            handler.take(event, conn, recv)
            if handler.repeatable:
                self._recent[conn].note(frame if len(events) == 1 else msgspec.json.encode(event))
            if handler.telling:
                last = self.heard
        last[conn] = recv

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
        """Pass over a stretch in which nothing is left to check, but not over the end of a minute."""
        self._boundary(self._next)
        if now - self._minute >= _MINUTE:
            self._boundary(self._minute + _MINUTE)
        self._next = now // _GRID * _GRID + _GRID
        self._minute = max(self._minute, now // _MINUTE * _MINUTE)

    def _boundary(self, at: int) -> None:
        self.books.checks.boundary(at, at - _GRID)
        self.books.depth_rows(at, self._depth)
        if at - self._minute >= _MINUTE:
            self.books.check_rows(self._minute)
            self._minute = at // _MINUTE * _MINUTE

    # --- what comes out ---

    def drain(self, *, parts: bool = False) -> dict[str, pl.DataFrame]:
        """Remove and return the complete rows of every table that has some.

        Those of a state that comes in parts are complete once all of it came; with ``parts`` they are returned before.
        """
        frames = self._buffers.take(self.books.checks.unsettled)
        keyframes = self.parts.take(frames.pop("keyframes", None), parts=parts)
        return frames if keyframes is None else frames | {"keyframes": keyframes}

    def told(self, now: int) -> None:
        """Note the time of what was told last, where ``finish`` ends if nothing more comes."""
        self._told, self.ended = now, False

    def restart(self) -> None:
        """Forget everything: what follows was kept by another run, or after a pause, and tells the whole state."""
        if self._told is not None:
            self._forget_lacking()
            self.finish(self._told)
        self._clear()

    def _forget_lacking(self) -> None:
        """Forget what a reader does not know that begins at the last cut."""
        self.books.forget(self.parts.lacks)
        for conn in [conn for conn, link in self.links.items() if self.parts.lacks_link(conn, link.opened)]:
            del self.links[conn]

    def forget(self) -> None:
        """Forget everything, rows too: what follows is no continuation."""
        self.books.checks.settle_all()
        self._clear()
        self.resolved.clear()
        self.drain()
        self.parts.forget()
        self._buffers.seq = 1

    def _clear(self) -> None:
        self.parts.give_up()
        self.books.clear()
        self.links.clear()
        self.heard.clear()
        self.last_control.clear()
        self.unknown_kinds.clear()
        self.repeats.clear()
        self.sequences.clear()
        self._loss, self._blank, self.stopped = None, False, None
        self._told, self.ended = None, False
        self._next = 0

    def finish(self, now: int) -> None:
        """Check everything now and write what is open: the counts of the minute, and gaps that have no end yet."""
        self._told, self.ended = None, True
        self.parts.give_up()
        self.settle(now)
        self.books.check_rows(self._minute)
        if self._blank and self._loss is not None:
            # Whoever goes on tells the whole state.
            self.books.gaps.write(self._loss, now, ended=now)
            self._blank = False
        for gap in self.open_gaps() + self.books.unmet(now):
            self.books.gaps.write(gap, now, ended=None)

    def cut(self, now: int, *, counts: bool = False) -> None:
        """End a segment: what follows tells the whole state, but what is open stands in the rows of both.

        With ``counts`` those of the minute stand in the rows of the first.
        """
        self.parts.give_up()
        self.settle(now)
        if counts:
            self.books.check_rows(self._minute)
        if self._loss is not None:
            for gap in self.open_gaps():
                self.books.gaps.write(gap, now, ended=now)
            self.books.check_rows(self._minute)
            self._clear()
            return
        for gap in self.open_gaps():
            self.books.gaps.write(gap, now, ended=None)

    def begin(self, now: int) -> None:
        """Settle and write what was counted so far, so that a recording that begins here counts its own checks."""
        # What a recording that is played wrote of its own state is no part of this one's.
        self.parts.give_up()
        self.settle(now)
        self.books.check_rows(self._minute)

    def settle(self, now: int) -> None:
        """Check and show everything now, so that rows and state can be cut here."""
        self.tick(now)
        self.books.checks.settle_all()
        self.books.depth_rows(now, self._depth)

    def open_gaps(self) -> list[Gap]:
        """List the gaps that have not ended."""
        gaps = [msgspec.structs.replace(self._loss, ended=None)] if self._loss is not None and self._blank else []
        gaps += [self.stopped] if self.stopped is not None else []
        gaps += [link.gap for _, link in sorted(self.links.items()) if link.gap is not None]
        return gaps + self.books.gaps.open

    # --- each kind of event ---

    def _handler(self, kind: type) -> Handler:
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
            Control: self._control,
            Malformed: self._refused,
            Unknown: self._unknown,
        }
        take = next((table[base] for base in kind.__mro__ if base in table), _pass_over)
        quiet = issubclass(kind, (Control, NewMarket))
        return Handler(take, telling=not quiet, repeatable=issubclass(kind, PriceChange))

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
        if self.repeats.has_trade(event, conn, recv):
            return
        self.books.count(token)
        token.proof.announced = event.price
        self._buffers.put("trades", epoch_ns(event.timestamp), recv, conn, values)

    def _row(
        self, table: str, layout: Callable[[Any], tuple[object, ...]], *, first: Callable[[Any], None] | None = None
    ) -> Take:
        """Return what makes a row of a message that is new, after it called ``first`` with it."""

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
            self._buffers.put(table, ts_event, recv, conn, values)

        return handle

    def _resolution(self, event: MarketResolved, conn: int, recv: int) -> None:
        """Take a market's outcome, which has one row, however often and by whomever it is reported."""
        if self._resolve(event, recv):
            self._row("market_events", rows.market_event)(event, conn, recv)
        else:
            self.repeats.again("market_events", event, conn, recv)

    def _resolve(self, event: MarketResolved, recv: int) -> bool:
        """End the gaps of a market, and of connections that carried nothing else; return whether that is news."""
        self.resolved.setdefault(event.market, (recv, event))
        if self.books.resolve(event.token_ids, recv):
            return False
        for _, link in sorted(self.links.items()):
            if link.gap is not None and self._is_over(link):
                self.books.gaps.write(link.gap, recv, ended=recv)
                link.gap = None
        return True

    def _is_over(self, link: Link) -> bool:
        """Return whether a connection carries only tokens whose markets were resolved."""
        carried = [self.books.tokens[each] for each in link.tokens if each in self.books.tokens]
        return bool(carried) and all(token.over for token in carried)

    def _numbered(self, event: StreamNumber, conn: int, recv: int) -> None:
        """Take the number of a message: those before it that never came are a gap of the connection."""
        link = self.links.get(conn)
        gap = self.sequences.missing(event, conn, recv, opened=recv if link is None else link.opened)
        if gap is not None:
            self.books.gaps.write(gap, recv, ended=gap.ended)

    def _unknown(self, event: Unknown, conn: int, recv: int) -> None:
        """Take a message of unknown kind, which may have changed the books that it names."""
        kind = shortened(event.kind)
        self.unknown_kinds.count(kind)
        reason = f"a message of the unknown kind {kind!r}"
        tokens = self._named(event.names, conn)
        if tokens:
            self._distrust(tokens, conn, recv, reason)
        else:
            self._note_unknown_kind(kind, f"{reason}; it names nothing that is followed", conn, recv)

    def _control(self, event: Control, conn: int, recv: int) -> None:
        """Take a control message: after an error of the venue, not all that was asked for may come."""
        if event.word != "error":
            return
        link = self.links.get(conn)
        # Who was given credentials may repeat them.
        says = event.detail if link is not None and link.channel in _WITHOUT_CREDENTIALS else ""
        reason = f"the venue says that something is wrong{f': {says}' if says else ''}"
        self._note_unknown_kind(reason, reason, conn, recv)

    def _note_unknown_kind(self, kind: str, reason: str, conn: int, recv: int) -> None:
        """Write a row of ``gaps``, the first time that a connection brings something of a kind that names no book."""
        detail = self.unknown_kinds.new_detail(conn, kind, reason)
        if detail is not None:
            self.books.gaps.write(Gap(started=recv, cause="malformed", detail=detail, conn=conn), recv, ended=recv)

    def _refuse(self, event: msgspec.Struct, reason: str, token_id: str | None, conn: int, recv: int) -> None:
        """Take a message that was read, but whose values cannot be."""
        head = msgspec.json.encode(event).decode()[:1024]
        self._refused(Malformed(head, reason, () if token_id is None else (token_id,)), conn, recv)

    def _refused(self, event: Malformed, conn: int, recv: int) -> None:
        """A message that cannot be read may have changed the books that it names or, if it names none, any."""
        self._malformed += 1
        tokens = self._named(event.names, conn) if event.names else self.books.carried(conn)
        if tokens or not event.names:
            self._distrust(tokens, conn, recv, event.reason)
        else:
            gap = Gap(started=recv, cause="malformed", token_id=event.names[0], detail=event.reason, conn=conn)
            self.books.gaps.write(gap, recv, ended=recv)

    def _named(self, names: Sequence[str], conn: int) -> list[Token]:
        """Find the tokens of a connection that are named, by themselves or with their market."""
        named = set(names)
        return [token for token in self.books.carried(conn) if named & {token.id, token.market}] if named else []

    def _distrust(self, tokens: Sequence[Token], conn: int, recv: int, reason: str) -> None:
        """Distrust the books that a message may have changed; where there are none, its content is missing."""
        started = self._complete_until(conn, recv)
        for token in tokens:
            self.books.distrust(token, "malformed", started, recv, reason)
        if not tokens:
            gap = Gap(started=started, cause="malformed", detail=reason, conn=conn)
            self.books.gaps.write(gap, recv, ended=recv)

    def _complete_until(self, conn: int, recv: int) -> int:
        """Return since when a message that a connection just brought may have been on its way.

        It was sent after the frame before it, whose own latency was that of the newest change.
        """
        newest = max(self.books.carried(conn), key=attrgetter("timestamp"), default=None)
        latency = newest.heard - epoch_ns(newest.timestamp) if newest is not None and newest.timestamp else 0
        return min(self.last_frame(conn) or recv, recv) - (latency if 0 < latency <= LONGEST_LATENCY_NS else 0)

    def last_frame(self, conn: int) -> int:
        """Return when the last frame of a connection came, whatever was in it; 0 if none did."""
        return max(self.heard.get(conn, 0), self.last_control.get(conn, 0))

    def _meet(self, conn: int, events: Sequence[Event], recv: int, loss: Gap) -> None:
        """Follow the books that a connection brings: the records that were lost may have told of them."""
        named = [event.token_id for event in events if isinstance(event, BookSnapshot)]
        named += [change.token_id for event in events if isinstance(event, PriceChange) for change in event.changes]
        fresh = [token_id for token_id in dict.fromkeys(named) if token_id not in self.books.tokens]
        if not fresh:
            return
        self.links.setdefault(conn, Link("market", set(), recv))
        self.subscribed(conn, fresh, recv)
        for token_id in fresh:
            self.books.distrust(self.books.tokens[token_id], loss.cause, loss.started, recv, loss.detail)


def _pass_over(_event: Event, _conn: int, _recv: int) -> None:
    """Take an event that makes no row."""
