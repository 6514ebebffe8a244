"""The books of all tokens: what arrives is applied, shown, and handed to the judge."""

from collections import defaultdict
from collections.abc import Callable
from operator import itemgetter
from typing import TypeAlias

import msgspec

from pmlive.book import PRICES, SIZES, Book
from pmlive.errors import ProtocolError
from pmlive.events import BookSide, BookSnapshot, Cause, Gap, LevelChange, PriceChange, TickSizeChange, epoch_ns
from pmlive.integrity import Counts
from pmlive.pipeline.judge import Judge
from pmlive.pipeline.past import Past
from pmlive.pipeline.sheets import Sheets
from pmlive.pipeline.token import EMPTY, Token, TokenState
from pmlive.pipeline.trust import Trust

__all__ = ["Books", "Refuse"]

# Told of a message that cannot be taken: the message, why, its token, its connection, when it came.
Refuse: TypeAlias = Callable[[msgspec.Struct, str, str, int, int], None]

_SIDES: dict[str, BookSide] = {"BUY": "bid", "SELL": "ask"}
_MINUTE = 60_000_000_000


class Books:
    """Every token's book; changes become rows, and doubts become gaps."""

    def __init__(self, sheets: Sheets, *, refuse: Refuse, hashes: bool = True) -> None:
        self._sheets = sheets
        self._refuse = refuse
        self._deltas, self._prices, self._names = sheets.book_deltas, sheets.prices, sheets.names
        sides, checks = self._deltas.words["side"], self._deltas.words["check"]
        self._side_numbers = {word: sides[side] for word, side in _SIDES.items()}
        self._open, self._skipped = checks["unverifiable"], checks["skipped"]
        self.trust = Trust(sheets)
        self.judge = Judge(sheets, self.trust, hashes=hashes)
        self._hashes = hashes
        self.tokens: dict[str, Token] = {}
        # What each connection said last.
        self.pasts: defaultdict[int, Past] = defaultdict(Past)
        self._changed: list[Token] = []
        self.duplicates = 0
        self.early = 0
        self.late = 0

    # --- what arrives ---

    def price_change(self, event: PriceChange, conn: int, recv: int) -> None:
        """Apply level changes, which nearly everything is: what is usual is all here, and what is not is elsewhere."""
        timestamp, tokens, storing = event.timestamp, self.tokens, self._sheets.storing
        for change in event.changes:
            token = tokens.get(change.token_id)
            if token is None:
                continue
            book = token.book
            bids, asks = book.bids, book.asks
            try:
                is_next = timestamp > token.timestamp and token.conn == conn
                if not is_next and self._is_passed_over(token, event, change, conn, recv):
                    continue
                if token.row is not None and timestamp > token.timestamp:
                    self.judge.judge(token)
                is_top = (bids if change.side == "BUY" else asks).put(change.price, change.size)
            except ProtocolError as error:
                self._refuse(event, str(error), token.id, conn, recv)
                continue
            token.timestamp = timestamp
            token.heard = recv
            token.messages += 1
            if not token.changed:
                self._touch(token)
            row = self._row(token, change, timestamp, conn, recv) if storing else -1
            if token.gap is not None:
                token.hold((timestamp, change.side, change.price, change.size))
                continue
            bid, ask = bids.keys, asks.keys
            if bid and ask and bid[-1] == change.best_bid and -ask[-1] == change.best_ask and not self._hashes:
                token.counts.bbo_ok += 1
            else:
                self.judge.wait(token, change, row)
            if is_top:
                self._show(token, timestamp, recv)

    def _is_passed_over(self, token: Token, event: PriceChange, change: LevelChange, conn: int, recv: int) -> bool:
        """Tell whether a change is not the next of its book: repeated, or out of turn, which is seen to here."""
        if conn not in (token.conn, token.link):
            return True
        in_turn = token.conn == conn and event.timestamp == token.timestamp
        if in_turn and not token.book.side(_SIDES[change.side]).holds(change.price, change.size):
            return False
        if self.pasts[conn].repeats(event, change):
            self.duplicates += 1
            return True
        if not in_turn:
            self._take_out_of_turn(token, event, change, conn, recv)
        return not in_turn

    def _take_out_of_turn(self, token: Token, event: PriceChange, change: LevelChange, conn: int, recv: int) -> None:
        """Take a change that came late, or before its connection's snapshot, on which it is put if it is newer."""
        _ = PRICES[change.price], SIZES[change.size]
        token.heard = recv
        token.messages += 1
        if not token.market:
            self._place(token, event.market)
        if self._sheets.storing:
            self._row(token, change, event.timestamp, conn, recv)
        if token.conn != conn:
            self.early += 1
            token.hold((event.timestamp, change.side, change.price, change.size))
            return
        self.late += 1
        if event.timestamp < token.covered or self.pasts[conn].overtakes(event, change):
            return
        is_top = token.book.put(_SIDES[change.side], change.price, change.size)
        self._touch(token)
        if token.gap is not None:
            token.hold((event.timestamp, change.side, change.price, change.size))
        elif is_top:
            self._show(token, event.timestamp, recv)

    def _row(self, token: Token, change: LevelChange, timestamp: int, conn: int, recv: int) -> int:
        """Write a level change down; give the number of its row."""
        number, bid, ask = self._deltas.count, change.best_bid, change.best_ask
        row = self._deltas.pack(
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
            # Until it is judged; what is not applied to a trusted book, never is.
            self._open if token.conn == conn and token.gap is None else self._skipped,
        )
        self._deltas.put(row)
        self._sheets.seq += 1
        return number

    def snapshot(self, event: BookSnapshot, conn: int, recv: int) -> None:
        """Take a whole book."""
        token = self.tokens.get(event.token_id)
        if token is None:
            return
        token.heard = recv
        token.messages += 1
        fresh, differences = token.book, 0
        try:
            if not token.book.repeats(event):
                fresh = Book()
                fresh.replace(event)
                differences = token.book.differences(fresh)
            self._snapshot_row(token, event, fresh, conn, recv)
        except ProtocolError as error:
            self._refuse(event, str(error), token.id, conn, recv)
            return
        self.judge.settle(token)
        if token.conn == conn and token.gap is None:
            if event.timestamp < token.timestamp:
                self.late += 1
                return
            self.judge.compare(token, differences, recv)
        self._adopt(token, event, fresh, conn, recv)

    def _snapshot_row(self, token: Token, event: BookSnapshot, book: Book, conn: int, recv: int) -> None:
        tick = PRICES[event.tick_size] if event.tick_size else None
        last = PRICES[event.last_trade_price] if event.last_trade_price else None
        if self._sheets.storing:
            bids, asks = book.bids, book.asks
            ladders = (bids.keys[::-1], bids.sizes[::-1], asks.keys[::-1], asks.sizes[::-1])
            values = (token.id, event.market, *ladders, event.hash, token.conn != conn, tick, last)
            self._sheets.put("book_snapshots", epoch_ns(event.timestamp), recv, conn, values)

    def _adopt(self, token: Token, event: BookSnapshot, book: Book, conn: int, recv: int) -> None:
        is_newest = token.timestamp <= event.timestamp and not token.held
        if token.market != event.market:
            self._place(token, event.market)
        token.book, token.conn = book, conn
        token.timestamp = token.covered = event.timestamp
        token.stated, token.row, token.odd_top = event.hash, None, None
        if event.tick_size is not None or event.last_trade_price is not None:
            token.proof.learn(
                tick_size=event.tick_size,
                last_trade_price=event.last_trade_price,
                min_order_size=event.min_order_size,
                neg_risk=event.neg_risk,
            )
        token.awaited = 0
        self.judge.snapshot(token, event)
        if not is_newest:
            self._catch_up(token)
        token.proved = recv
        self.trust.regain(token, recv)
        self._show(token, event.timestamp, recv)
        self._touch(token)

    def _touch(self, token: Token) -> None:
        """Let the depth of a book be shown when its time comes."""
        if not token.changed:
            token.changed = True
            self._changed.append(token)

    def _catch_up(self, token: Token) -> None:
        """Apply what came before the snapshot but is newer: it was asked for by REST while the stream went on."""
        since = token.timestamp
        newer = self.pasts[token.conn].since(token.id, since) + [each for each in token.held if each[0] > since]
        token.held.clear()
        # In order of the venue's time, and of arrival within one.
        for timestamp, side, price, size in sorted(newer, key=itemgetter(0)):
            token.book.put(_SIDES[side], price, size)
            token.timestamp = timestamp

    def tick_size(self, event: TickSizeChange) -> None:
        """Take a new price grid, which the next hashes cover."""
        if (token := self.tokens.get(event.token_id)) is not None:
            self.judge.settle(token)
            token.proof.learn(tick_size=event.new_tick_size)

    # --- tokens that come and go ---

    def await_book(self, token_id: str, now: int) -> Token:
        """Give a token, waiting for its first book if it is new."""
        token = self.tokens.get(token_id)
        if token is None:
            token = self._add(Token(token_id))
            token.awaited = now
        return token

    def unmet(self, before: int) -> list[Gap]:
        """List, as gaps, the tokens that were wanted before a time and never had a book or a gap."""
        return [
            Gap(started=token.awaited, cause="late opening book", token_id=token.id, conn=token.link)
            for token in self.tokens.values()
            if token.awaited and token.awaited < before and token.gap is None
        ]

    def lose(self, token_id: str, cause: Cause, started: int, now: int, detail: str) -> None:
        """Note that a token's connection is gone: its book ends with what was last heard."""
        token = self.tokens[token_id]
        self.judge.settle(token)
        if token.conn:
            self.trust.lose(token, cause, started, now, detail)
        self.release(token_id)

    def release(self, token_id: str) -> None:
        """Let go of a token's connection: no change applies before the next snapshot."""
        token = self.tokens[token_id]
        self.judge.settle(token)
        token.conn = token.link = 0
        token.held.clear()

    def drop(self, token_id: str, now: int) -> None:
        """Forget a token that is no longer wanted, writing what is open of it."""
        token = self.tokens.pop(token_id, None)
        if token is None:
            return
        self.judge.settle(token)
        self.trust.regain(token, now)
        self._check_row(token, now // _MINUTE * _MINUTE)

    def save(self) -> list[TokenState]:
        """Write down every token."""
        return [token.save() for token in self.tokens.values()]

    def load(self, state: TokenState) -> None:
        """Go on with a token from what was written down, unless it is known."""
        if state.token_id not in self.tokens:
            self._add(Token.load(state))

    def _place(self, token: Token, market: str) -> None:
        token.market, token.market_number = market, self._names[market]

    def _add(self, token: Token) -> Token:
        token.number, token.market_number = self._names[token.id], self._names[token.market]
        self.tokens[token.id] = token
        return token

    def clear(self) -> None:
        """Forget every token."""
        self.tokens, self.trust.wanted, self._changed = {}, {}, []
        self.pasts.clear()

    # --- what is shown ---

    def take_heard(self) -> dict[str, int]:
        """Give the number of messages of each token since this was asked last."""
        heard = {token.id: token.messages for token in self.tokens.values() if token.messages}
        for token_id in heard:
            self.tokens[token_id].messages = 0
        return heard

    @property
    def idle(self) -> bool:
        """Tell whether no state waits to be judged and no depth to be shown."""
        return self.judge.idle and not self._changed

    def _show(self, token: Token, timestamp: int, recv: int) -> None:
        """Write the top of the book, unless it is as it was."""
        bids, asks, sheets = token.book.bids, token.book.asks, self._sheets
        bid, bid_size = (bids.keys[-1], bids.sizes[-1]) if bids.keys else (EMPTY, EMPTY)
        ask, ask_size = (-asks.keys[-1], asks.sizes[-1]) if asks.keys else (EMPTY, EMPTY)
        top = bid, bid_size, ask, ask_size
        if top == token.shown:
            return
        token.shown = top
        conn, number, market = token.conn, token.number, token.market_number
        row = self._prices.pack(sheets.seq, timestamp, recv, conn, number, market, bid, bid_size, ask, ask_size)
        self._prices.put(row)
        sheets.seq += 1

    def depth_rows(self, at: int, depth: int) -> None:
        """Write the best levels of every book that changed since the last time.

        They take no number of their own: they are in no recording, and what is must be numbered the same without them.
        """
        sheets, put, last = self._sheets, self._sheets.rows["depth"].put, -depth - 1
        for token in self._changed:
            token.changed = False
            if token.conn and token.gap is None:
                bids, asks = token.book.bids, token.book.asks
                ladders = (bids.keys[:last:-1], bids.sizes[:last:-1], asks.keys[:last:-1], asks.sizes[:last:-1])
                put((sheets.seq, epoch_ns(token.timestamp), at, token.conn, token.id, token.market, *ladders))
        self._changed = []

    def check_rows(self, minute: int) -> None:
        """Write and reset the counts of a minute (nanoseconds since 1970)."""
        for token in self.tokens.values():
            self._check_row(token, minute)

    def _check_row(self, token: Token, minute: int) -> None:
        values = token.counts.values()
        if any(values):
            self._sheets.put("checks", None, minute, token.conn, (token.id, *values))
            token.total.add(token.counts)
            token.counts = Counts()
