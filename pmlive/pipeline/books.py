"""The books of all tokens, kept and proven."""

from collections import deque

from pmlive.book import PRICES as _PRICE
from pmlive.book import SIZES as _SIZE
from pmlive.book import Book
from pmlive.errors import ProtocolError
from pmlive.events import (
    BookSide,
    BookSnapshot,
    Cause,
    Check,
    Gap,
    LevelChange,
    PriceChange,
    TickSizeChange,
    epoch_ns,
)
from pmlive.integrity import Counts
from pmlive.pipeline.sheets import Sheets
from pmlive.pipeline.token import Token, TokenState

__all__ = ["Books"]

# A hash that nothing explains is a mismatch if the next state fails as well, or if none comes within this time.
_DOUBT = 1_000_000_000
_SIDES: dict[str, BookSide] = {"BUY": "bid", "SELL": "ask"}
# Repeated changes come within some milliseconds of the first.
_REMEMBERED = 64
_SOON = 1_000
# A new connection begins with opening books, and asks again for those that stay away.
_ASKED_FOR_ANYWAY: frozenset[Cause] = frozenset(("disconnect", "restart", "late opening book"))
# A new snapshot of a token is asked for at most so often.
_ASK_EVERY = 60_000_000_000


class Books:
    """Every token's book; changes become rows, and doubts become gaps."""

    def __init__(self, sheets: Sheets, *, hashes: bool = True) -> None:
        self._sheets = sheets
        self._deltas = sheets.tables["book_deltas"]
        self._hashes = hashes
        self.tokens: dict[str, Token] = {}
        # The last changes of each market by connection, to recognise one that the venue repeats; those of the connection
        # that was heard last are at hand.
        self._recents: dict[int, dict[str, deque[PriceChange]]] = {}
        self._recent: dict[str, deque[PriceChange]] = {}
        self._heard = -1
        # Tokens with a state that was not judged yet: of this stretch of the grid, and of the one before.
        self._fresh: list[Token] = []
        self._ripe: list[Token] = []
        self._doubted: list[Token] = []
        self._changed: list[Token] = []
        self.duplicates = 0
        self.early = 0
        self.late = 0
        # Tokens whose book must be asked for anew.
        self.wanted: dict[str, int] = {}

    # --- what arrives ---

    def price_change(self, event: PriceChange, conn: int, recv: int) -> list[tuple[str, str]]:
        """Apply level changes; give the token and the reason of each that could not be."""
        timestamp, tokens = event.timestamp, self.tokens
        ts_event = epoch_ns(timestamp)
        refused: list[tuple[str, str]] = []
        if conn != self._heard:
            self._turn_to(conn)
        for change in event.changes:
            token = tokens.get(change.token_id)
            if token is None:
                continue
            if token.conn != conn:
                if token.link == conn:
                    self._skip(token, event, change, conn, recv, refused)
                continue
            if timestamp > token.timestamp:
                if token.row is not None:
                    self._judge(token)
                token.timestamp = timestamp
            elif self._repeated(event, change):
                self.duplicates += 1
                continue
            elif timestamp < token.timestamp:
                self.late += 1
            token.heard = recv
            try:
                self._apply(token, change, timestamp, ts_event, conn, recv)
            except ProtocolError as error:
                refused.append((token.id, str(error)))
        recent = self._recent.get(event.market)
        if recent is None:
            recent = self._recent[event.market] = deque(maxlen=_REMEMBERED)
        recent.append(event)
        return refused

    def _turn_to(self, conn: int) -> None:
        self._heard, self._recent = conn, self._recents.setdefault(conn, {})

    def forget(self, conn: int) -> None:
        """Forget the changes of a connection that ended: none of them belongs to another."""
        self._recents.pop(conn, None)
        if conn == self._heard:
            self._heard, self._recent = -1, {}

    def _skip(
        self,
        token: Token,
        event: PriceChange,
        change: LevelChange,
        conn: int,
        recv: int,
        refused: list[tuple[str, str]],
    ) -> None:
        """Write down a change that came before the snapshot of its connection; it is applied with that, if it is newer."""
        if self._repeated(event, change):
            self.duplicates += 1
            return
        token.heard = recv
        token.market = token.market or event.market
        try:
            self._sheets.put("book_deltas", epoch_ns(event.timestamp), recv, conn, _skipped(token, change))
        except ProtocolError as error:
            refused.append((token.id, str(error)))
            return
        self.early += 1

    def _repeated(self, event: PriceChange, change: LevelChange) -> bool:
        """Tell whether this very change came before."""
        return any(
            earlier.timestamp == event.timestamp and change in earlier.changes
            for earlier in self._recent.get(event.market, ())
        )

    def _apply(self, token: Token, change: LevelChange, timestamp: int, ts_event: int, conn: int, recv: int) -> None:
        """Put one change into its row and into the book; raise before either is touched.

        This runs for every change that is received, so it calls little and says much.
        """
        book, wire_side = token.book, change.side
        if wire_side == "BUY":
            name, side = "bid", book.bids
        elif wire_side == "SELL":
            name, side = "ask", book.asks
        else:
            raise ProtocolError(f"side {wire_side[:20]!r} is neither BUY nor SELL")
        bid = _PRICE[change.best_bid] if change.best_bid else None
        ask = _PRICE[change.best_ask] if change.best_ask else None
        at, total = _PRICE[change.price], _SIZE[change.size]
        sheets, row = self._sheets, self._deltas.count
        self._deltas.put((sheets.seq, ts_event, recv, conn, token.id, token.market, name, at, total, bid, ask, "skipped"))
        sheets.seq += 1
        top = side.put(change.price, change.size)
        if token.gap is not None:
            return
        if timestamp == token.timestamp:
            bids, asks = book.bids.keys, book.asks.keys
            token.stated, token.reached, token.row = change.hash, recv, row
            if (bids[-1] if bids else 0.0) != bid or (-asks[-1] if asks else 1.0) != ask:
                token.odd_top = _differs(token, bid, ask)
            else:
                token.odd_top = False
            if not token.pending:
                token.pending = True
                self._fresh.append(token)
        if top:
            self._show(token, ts_event, recv)
        if not token.changed:
            token.changed = True
            self._changed.append(token)

    def snapshot(self, event: BookSnapshot, conn: int, recv: int) -> str | None:
        """Take a whole book; give the reason if it cannot be read."""
        token = self.tokens.get(event.token_id)
        if token is None:
            return None
        token.heard = recv
        book = Book()
        try:
            book.replace(event)
            tick = _PRICE[event.tick_size] if event.tick_size else None
            last = _PRICE[event.last_trade_price] if event.last_trade_price else None
        except ProtocolError as error:
            return str(error)
        token.market = event.market
        opening = token.conn != conn
        ladders = (book.bids.prices(), book.bids.totals(), book.asks.prices(), book.asks.totals())
        values = (token.id, token.market, *ladders, event.hash, opening, tick, last)
        self._sheets.put("book_snapshots", epoch_ns(event.timestamp), recv, conn, values)
        self._settle(token)
        if not opening and token.gap is None and event.timestamp < token.timestamp:
            self.late += 1
            return None
        if not opening and token.gap is None:
            self._compare(token, book, recv)
        self._adopt(token, event, book, conn, recv)
        return None

    def _compare(self, token: Token, book: Book, recv: int) -> None:
        differences = token.book.differences(book)
        if differences:
            token.counts.snapshot_mismatch += 1
            self.distrust(token, "mismatch", token.proved, recv, f"{differences} levels differ from a fresh book")
        else:
            token.counts.snapshot_ok += 1

    def _adopt(self, token: Token, event: BookSnapshot, book: Book, conn: int, recv: int) -> None:
        token.book, token.conn, token.timestamp = book, conn, event.timestamp
        token.row = token.doubt = None
        token.stated = event.hash
        token.proof.learn(
            tick_size=event.tick_size,
            last_trade_price=event.last_trade_price,
            min_order_size=event.min_order_size,
            neg_risk=event.neg_risk,
        )
        self._prove_snapshot(token, event)
        self._catch_up(token)
        token.proved = recv
        self.wanted.pop(token.id, None)
        if token.gap is not None:
            self._close_gap(token, recv)
        if token.top() != token.shown:
            self._show(token, epoch_ns(event.timestamp), recv)
        if not token.changed:
            token.changed = True
            self._changed.append(token)

    def _catch_up(self, token: Token) -> None:
        """Apply what came before the snapshot but is newer: it was asked for by REST while the stream went on."""
        since = token.timestamp
        for event in self._recents.get(token.conn, {}).get(token.market, ()):
            if event.timestamp <= since:
                continue
            for change in event.changes:
                if change.token_id == token.id and _is_sound(change):
                    (token.book.bids if change.side == "BUY" else token.book.asks).put(change.price, change.size)
                    token.timestamp = max(token.timestamp, event.timestamp)

    def _prove_snapshot(self, token: Token, event: BookSnapshot) -> None:
        if not self._hashes:
            return
        check = token.proof.check(token.book, token.market, token.id, event.timestamp, event.hash)
        self._count_hash(token, check)
        if check == "mismatch":
            token.proof.doubt()

    def tick_size(self, event: TickSizeChange) -> None:
        """Take a new price grid, which the next hashes cover."""
        if (token := self.tokens.get(event.token_id)) is not None:
            self._settle(token)
            token.proof.learn(tick_size=event.new_tick_size)

    # --- judging ---

    def boundary(self, at: int, since: int) -> None:
        """Judge what is older than the last stretch of the grid, which began at ``since``."""
        ripe, self._ripe, self._fresh = self._ripe, self._fresh, []
        for token in ripe:
            if token.row is not None and token.reached >= since:
                self._ripe.append(token)
                continue
            token.pending = False
            self._judge(token)
        if self._doubted:
            self._expire_doubts(at)

    def _expire_doubts(self, at: int) -> None:
        doubted, self._doubted = self._doubted, []
        for token in doubted:
            if token.doubt is None:
                continue
            if at - token.doubt[1] >= _DOUBT:
                self._convict(token, at)
            else:
                self._doubted.append(token)

    def settle_all(self) -> None:
        """Judge everything now, leaving no row open; a doubt that remains is set aside as unverifiable."""
        for token in self._ripe + self._fresh + self._doubted:
            token.pending = False
            self._settle(token)
        self._ripe, self._fresh, self._doubted = [], [], []

    def _settle(self, token: Token) -> None:
        self._judge(token)
        if token.doubt is not None:
            self._acquit(token)

    def _judge(self, token: Token) -> None:
        """Check the last state of a millisecond that is past."""
        row, token.row = token.row, None
        if row is None or token.gap is not None:
            return
        if token.odd_top:
            token.odd_top = False
            token.counts.bbo_mismatch += 1
            self._mark(row, "mismatch")
            bid, _, ask, _ = token.top()
            detail = f"the venue's best prices are not the book's {bid} and {ask}"
            self.distrust(token, "mismatch", token.proved, token.heard, detail)
            return
        token.counts.bbo_ok += 1
        if self._hashes:
            self._judge_hash(token, row)

    def _judge_hash(self, token: Token, row: int) -> None:
        check = token.proof.check(token.book, token.market, token.id, token.timestamp, token.stated)
        if check == "mismatch":
            self._suspect(token, row)
            return
        self._mark(row, check)
        self._count_hash(token, check)
        if check == "verified":
            token.proved = token.reached
            if token.doubt is not None:
                self._acquit(token)

    def _suspect(self, token: Token, row: int) -> None:
        if token.doubt is None:
            token.doubt = (row, token.reached)
            self._doubted.append(token)
            return
        self._mark(row, "mismatch")
        token.counts.hash_mismatch += 1
        self._convict(token, token.heard)

    def _acquit(self, token: Token) -> None:
        """The next state was proven, so the doubtful hash was one change late or unknown, not the book wrong."""
        if token.doubt is not None:
            self._mark(token.doubt[0], "unverifiable")
            token.counts.hash_unverifiable += 1
            token.doubt = None

    def _convict(self, token: Token, at: int) -> None:
        if token.doubt is not None:
            self._mark(token.doubt[0], "mismatch")
            token.counts.hash_mismatch += 1
            token.doubt = None
        self.distrust(token, "mismatch", token.proved, at, "the book's hash is not the venue's")

    def _mark(self, row: int, check: Check) -> None:
        self._deltas.amend(row, "check", check)

    @staticmethod
    def _count_hash(token: Token, check: Check) -> None:
        name = f"hash_{check}"
        setattr(token.counts, name, getattr(token.counts, name) + 1)

    @property
    def unsettled(self) -> int | None:
        """The number of the first row of ``book_deltas`` whose check may still change."""
        open_rows = [token.row for token in self._ripe + self._fresh if token.row is not None]
        open_rows += [token.doubt[0] for token in self._doubted if token.doubt is not None]
        return min(open_rows, default=None)

    def save(self) -> list[TokenState]:
        """Write down every token, with the changes that may yet be repeated."""
        return [token.save(self._recent_of(token)) for token in self.tokens.values()]

    def _recent_of(self, token: Token) -> list[PriceChange]:
        """List the changes that may be repeated, or that a snapshot on its way may turn out to lack."""
        recent = self._recents.get(token.link, {}).get(token.market, ())
        if not token.trusted():
            return list(recent)
        return [event for event in recent if event.timestamp >= token.timestamp - _SOON]

    def load(self, state: TokenState) -> None:
        """Go on with a token from what was written down, unless it is known."""
        if state.token_id in self.tokens:
            return
        token = self.tokens[state.token_id] = Token.load(state)
        token.link = token.link or token.conn
        known = self._recents.setdefault(token.link, {})
        if len(state.recent) > len(known.get(state.market, ())):
            known[state.market] = deque(state.recent, maxlen=_REMEMBERED)

    def clear(self) -> None:
        """Forget every token."""
        self.tokens, self.wanted, self._recents, self._changed = {}, {}, {}, []
        self._heard, self._recent = -1, {}

    # --- trust ---

    @property
    def idle(self) -> bool:
        """Tell whether no state waits to be judged and no depth to be shown."""
        return not (self._fresh or self._ripe or self._doubted or self._changed)

    def lose(self, token_id: str, cause: Cause, started: int, now: int, detail: str) -> None:
        """Note that a token's connection is gone: its book ends with what was last heard."""
        token = self.tokens[token_id]
        self._settle(token)
        if token.conn:
            self.distrust(token, cause, started, now, detail)
        self.release(token_id)

    def release(self, token_id: str) -> None:
        """Let go of a token's connection: no change applies before the next snapshot."""
        token = self.tokens[token_id]
        self._settle(token)
        token.conn = token.link = 0

    def drop(self, token_id: str, now: int) -> None:
        """Forget a token that is no longer wanted, writing what is open of it."""
        token = self.tokens.pop(token_id, None)
        if token is None:
            return
        self._settle(token)
        self._close_gap(token, now)
        self.wanted.pop(token_id, None)
        self._check_row(token, now // 60_000_000_000 * 60_000_000_000)

    def distrust(self, token: Token, cause: Cause, started: int, now: int, detail: str) -> None:
        """Open a gap, if none is open, and ask for a new snapshot unless its connection does that by itself."""
        if token.gap is None:
            conn = token.conn or token.link
            token.gap = Gap(started=started or now, cause=cause, token_id=token.id, detail=detail, conn=conn)
        if cause not in _ASKED_FOR_ANYWAY:
            self.wanted.setdefault(token.id, max(now, token.asked + _ASK_EVERY if token.asked else now))

    def _close_gap(self, token: Token, recv: int) -> None:
        if token.gap is not None:
            self.gap_row(token.gap, recv, ended=recv)
            token.gap = None

    def gap_row(self, gap: Gap, recv: int, *, ended: int | None) -> None:
        """Write a gap into its table."""
        values = (gap.token_id, gap.started, ended, gap.cause, gap.detail)
        self._sheets.put("gaps", None, recv, gap.conn, values)

    # --- rows ---

    def _show(self, token: Token, ts_event: int, recv: int) -> None:
        """Write the top of the book, null where a side is empty."""
        token.shown = bid, bid_size, ask, ask_size = token.top()
        values: tuple[object, ...]
        if bid >= 0 and ask >= 0:
            values = (bid, bid_size, ask, ask_size, round((bid + ask) / 2, 6), round(ask - bid, 6))
        elif bid >= 0:
            values = (bid, bid_size, None, None, None, None)
        else:
            values = (None, None, ask if ask >= 0 else None, ask_size if ask >= 0 else None, None, None)
        self._sheets.put("prices", ts_event, recv, token.conn, (token.id, token.market, *values))

    def depth_rows(self, at: int, depth: int) -> None:
        """Write the best levels of every book that changed since the last time."""
        for token in self._changed:
            token.changed = False
            if token.trusted():
                bids, asks = token.book.bids, token.book.asks
                ladders = (bids.prices(depth), bids.totals(depth), asks.prices(depth), asks.totals(depth))
                values = (token.id, token.market, *ladders)
                self._sheets.put("depth", epoch_ns(token.timestamp), at, token.conn, values)
        self._changed = []

    def check_rows(self, minute: int) -> None:
        """Write and reset the counts of a minute (nanoseconds since 1970)."""
        for token in self.tokens.values():
            self._check_row(token, minute)

    def _check_row(self, token: Token, minute: int) -> None:
        values = _values(token.counts)
        if any(values):
            self._sheets.put("checks", None, minute, token.conn, (token.id, *values))
            token.total.add(token.counts)
            token.counts = Counts()


def _values(counts: Counts) -> tuple[int, ...]:
    return (
        counts.hash_verified,
        counts.hash_unverifiable,
        counts.hash_mismatch,
        counts.bbo_ok,
        counts.bbo_mismatch,
        counts.snapshot_ok,
        counts.snapshot_mismatch,
    )


def _skipped(token: Token, change: LevelChange) -> tuple[object, ...]:
    """Lay out a change that is not applied."""
    if change.side not in _SIDES:
        raise ProtocolError(f"side {change.side[:20]!r} is neither BUY nor SELL")
    best = [_PRICE[text] if text else None for text in (change.best_bid, change.best_ask)]
    level = (_SIDES[change.side], _PRICE[change.price], _SIZE[change.size])
    return (token.id, token.market, *level, *best, "skipped")


def _is_sound(change: LevelChange) -> bool:
    """Tell whether a change can be read; one that cannot was refused when it came."""
    try:
        return change.side in _SIDES and _PRICE[change.price] >= 0 and _SIZE[change.size] >= 0
    except ProtocolError:
        return False


def _differs(token: Token, bid: float | None, ask: float | None) -> bool:
    """Tell whether stated best prices contradict the book; a side that is not stated does not."""
    if bid == 0 and ask == 0:
        return False
    bids, asks = token.book.bids.keys, token.book.asks.keys
    bid_differs = bid is not None and bid != (bids[-1] if bids else 0.0)
    ask_differs = ask is not None and ask != (-asks[-1] if asks else 1.0)
    return bid_differs or ask_differs
