"""The books of all tokens: what arrives is applied, shown, and handed to the checks."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TypeAlias

import msgspec

from pmlive.book import PRICES, SIZES, Book
from pmlive.errors import ProtocolError
from pmlive.events import BookSnapshot, Cause, Gap, LevelChange, PriceChange, TickSizeChange
from pmlive.integrity import Counts
from pmlive.pipeline.checks import BookChecks, TokenGaps
from pmlive.pipeline.repeats import RecentChanges
from pmlive.pipeline.rows import BookRows, RowBuffers
from pmlive.pipeline.token import PLACE, SIDES, Token
from pmlive.records import Change, TokenState

__all__ = ["Books"]

# Told of a message that cannot be taken: the message, why, its token, its connection, when it came.
Refuse: TypeAlias = Callable[[msgspec.Struct, str, str, int, int], None]

_MINUTE = 60_000_000_000
# What is so many milliseconds older than its book, or more, was not just overtaken by it: one of the times is wrong.
_OVERLAP = 10_000


class Books:
    """Every token's book; changes become rows, and doubts become gaps."""

    def __init__(self, buffers: RowBuffers, *, refuse: Refuse, hashes: bool = True) -> None:
        self._buffers = buffers
        self._refuse = refuse
        self._rows = BookRows(buffers)
        self.gaps = TokenGaps(buffers)
        self.checks = BookChecks(buffers, self.gaps, proven=self._proven, hashes=hashes)
        self._hashes = hashes
        self.tokens: dict[str, Token] = {}
        self._places = 0
        # By market, whom its messages name beside its tokens that are followed.
        self._beside: defaultdict[str, set[str]] = defaultdict(set)
        # What each connection said last.
        self.recent: defaultdict[int, RecentChanges] = defaultdict(RecentChanges)
        self._changed: list[Token] = []
        # The tokens that were heard of since their messages were told, and those besides that may have counts.
        self._untold: dict[str, Token] = {}
        self._counted: dict[str, Token] = {}
        # The checks before this minute, of tokens that are let go, too; tokens without a first book; tokens by market.
        self._checked = Counts()
        self._awaited: dict[str, Token] = {}
        self._of_market: defaultdict[str, dict[str, Token]] = defaultdict(dict)
        # Told of tokens that are looked at, or changed, for what a message says of others.
        self.before_reading: Callable[[Sequence[Token]], None] | None = None
        self.duplicates = 0
        self.early = 0
        self.late = 0

    # --- what arrives ---

    def price_change(self, event: PriceChange, conn: int, recv: int) -> None:  # noqa: C901  # calls cost more than they hold
        """Apply level changes, which nearly everything is: what is usual is all here, and what is not is elsewhere."""
        timestamp, tokens, buffers = event.timestamp, self.tokens, self._buffers
        for change in event.changes:
            token = tokens.get(change.token_id)
            if token is None:
                self._note_strangers(event, conn, recv)
                continue
            bids, asks = token.book.bids, token.book.asks
            try:
                if timestamp < token.timestamp or token.conn != conn:
                    self._take_out_of_turn(token, event, change, conn, recv)
                    continue
                if token.row is not None and timestamp > token.timestamp:
                    self.checks.check(token, recv)
                is_top = (bids if change.side == "BUY" else asks).put(change.price, change.size)
            except ProtocolError as error:
                self._refuse(event, str(error), token.id, conn, recv)
                continue
            if is_top is None and timestamp == token.timestamp and self._repeats(event, change, conn):
                continue
            token.timestamp, token.heard = timestamp, recv
            self._untold[token.id] = token
            token.messages += 1
            if not token.changed:
                self._touch(token)
            row = self._rows.delta(token, change, timestamp, conn, recv) if buffers.storing else -1
            buffers.seq += buffers.numbers
            if token.gap is not None:
                token.hold((timestamp, change.side, change.price, change.size))
                self.checks.wait(token, change, row)
                continue
            bid, ask = bids.keys, asks.keys
            agrees = bid and ask and -bid[0] == change.best_bid and ask[0] == change.best_ask
            if agrees and token.row is None and not self._hashes:
                token.counts.bbo_ok += 1
            else:
                self.checks.wait(token, change, row)
            if is_top:
                self._rows.top(token, timestamp, recv)

    def _note_strangers(self, event: PriceChange, conn: int, recv: int) -> None:
        """Doubt the books of a market whose changes a message tells of under the names of others.

        It tells of both outcomes, so whoever follows one of them is told of the other, too.
        """
        market, named = event.market, {change.token_id for change in event.changes}
        beside = self._beside[market]
        strangers = named - self.tokens.keys() - beside
        if not strangers:
            return
        unnamed = [token for token in self.carried(conn) if token.market == market and token.id not in named]
        for token in unnamed:
            reason = f"a change of its market is told of the token {min(strangers)[:100]!r}, which is not followed"
            self._refuse(event, reason, token.id, conn, recv)
        if not unnamed and named & self.tokens.keys():
            beside.update(strangers)

    def _repeats(self, event: PriceChange, change: LevelChange, conn: int) -> bool:
        """Return whether a change came before, and count it, if it changes nothing and is no newer."""
        repeats = self.recent[conn].repeats(event, change)
        self.duplicates += repeats
        return repeats

    def _take_out_of_turn(self, token: Token, event: PriceChange, change: LevelChange, conn: int, recv: int) -> None:
        """Take a change that came late, or before its connection's snapshot, on which it is put if it is newer."""
        if conn not in (token.conn, token.link) or self._repeats(event, change, conn):
            return
        _ = PRICES[change.price], SIZES[change.size]
        token.heard = recv
        self.count(token)
        if not token.market:
            self._place(token, event.market)
        is_early = token.conn != conn
        behind = max(token.timestamp, token.covered) - event.timestamp
        if behind > _OVERLAP and not is_early and token.gap is None:
            self._refuse(event, f"its time is {behind / 1000:,.0f} s before its book's", token.id, conn, recv)
            self._begin_anew(token, conn)
        is_past = not is_early and (event.timestamp < token.covered or self.recent[conn].overtakes(event, change))
        if self._buffers.storing:
            self._rows.delta(token, change, event.timestamp, conn, recv, checked=not (is_early or is_past))
        self._buffers.seq += self._buffers.numbers
        self.early, self.late = self.early + is_early, self.late + (not is_early)
        if is_early or token.gap is not None:
            token.hold((event.timestamp, change.side, change.price, change.size))
        if is_early or is_past:
            return
        is_top = token.book.put(SIDES[change.side], change.price, change.size)
        self._touch(token)
        if is_top and token.gap is None:
            self._rows.top(token, event.timestamp, recv)

    def snapshot(self, event: BookSnapshot, conn: int, recv: int) -> None:
        """Take a whole book."""
        token = self.tokens.get(event.token_id)
        if token is None:
            return
        token.heard = recv
        self.count(token)
        fresh, differences = token.book, 0
        try:
            if not token.book.repeats(event):
                fresh = Book()
                fresh.replace(event)
                differences = token.book.differences(fresh)
            self._rows.snapshot(token, event, fresh, conn, recv)
        except ProtocolError as error:
            self._refuse(event, str(error), token.id, conn, recv)
            return
        is_older = token.conn == conn and event.timestamp < token.timestamp
        self.checks.settle(token, is_right=not differences and not (is_older and event.by_rest))
        if is_older and (token.gap is None or (event.by_rest and not self._leads_to_now(token, event))):
            self.late += 1
            return
        if token.conn == conn and token.gap is None:
            self.checks.compare(token, differences, recv)
        self._adopt(token, event, fresh, conn, recv)

    def _leads_to_now(self, token: Token, event: BookSnapshot) -> bool:
        """Return whether a book by REST, which may be old, becomes the present one with the changes that came since.

        All of them must be remembered, and none lost, which the last hash shows where hashes are known to fit.
        """
        since = event.timestamp
        if not (self.recent[token.conn].reaches(since) or token.holds_since(since)):
            return False
        if not (self._hashes and token.proof.established and token.stated):
            return True
        book = Book()
        book.replace(event)
        for _, side, price, size in self._newer(token, since):
            book.put(SIDES[side], price, size)
        return token.proof.fits(book, token.market, token.id, token.timestamp, token.stated)

    def _begin_anew(self, token: Token, conn: int) -> None:
        """Forget what came before: its times are those of another clock, so nothing of it is newer than what comes."""
        self.recent.pop(conn, None)
        token.held.clear()
        token.timestamp = token.covered = 0

    def _adopt(self, token: Token, event: BookSnapshot, book: Book, conn: int, recv: int) -> None:
        is_newest = token.timestamp <= event.timestamp and not token.held
        is_current = not event.by_rest or token.conn != conn or token.timestamp <= event.timestamp
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
        was_proved = token.verified()
        self.checks.snapshot(token, event)
        is_ahead = not is_newest and self._catch_up(token)
        # What REST had some time ago proves nothing of now.
        if is_current:
            token.proved_ns, token.proved_ms = recv, 0
        self.gaps.regain(token, recv)
        self._rows.top(token, event.timestamp, recv)
        if is_ahead or (was_proved and not token.verified()):
            # No other row tells what the book is now, or that nothing proves it.
            self._rows.keyframe(token, recv, alone=True)
        self._touch(token)

    def _proven(self, token: Token, now: int) -> None:
        """Trust a book again that was kept up in a gap and has the venue's hash."""
        token.held.clear()
        self.gaps.regain(token, now)
        self._rows.top(token, token.timestamp, now)
        # No other row tells what the book is now.
        self._rows.keyframe(token, now, alone=True)
        self._touch(token)

    def _touch(self, token: Token) -> None:
        """Mark a book for the next rows of ``depth``."""
        if not token.changed:
            token.changed = True
            self._changed.append(token)

    def _catch_up(self, token: Token) -> bool:
        """Apply what came before the snapshot but is newer, if anything is: REST was asked while the stream went on."""
        newer = self._newer(token, token.timestamp)
        token.held.clear()
        for timestamp, side, price, size in newer:
            token.book.put(SIDES[side], price, size)
            token.timestamp = timestamp
        return bool(newer)

    def _newer(self, token: Token, since: int) -> list[Change]:
        """List the changes after a time, in order of the venue's time, and of arrival within one."""
        newer = self.recent[token.conn].since(token.id, since) + [each for each in token.held if each[0] > since]
        return sorted(newer, key=itemgetter(0))

    def tick_size(self, event: TickSizeChange) -> None:
        """Take a new price grid, which the next hashes cover."""
        if (token := self.tokens.get(event.token_id)) is not None:
            self.checks.settle(token)
            token.proof.learn(tick_size=event.new_tick_size)

    # --- tokens that come and go ---

    def await_book(self, token_id: str, now: int) -> Token:
        """Return a token, which waits for its first book if it is new."""
        token = self.tokens.get(token_id)
        if token is None:
            token = Token(token_id)
            token.awaited = now
            self._add(token)
        return token

    def of_market(self, market: str) -> Iterable[Token]:
        """Return the tokens of a market that are followed."""
        return self._of_market.get(market, {}).values()

    def carried(self, conn: int) -> list[Token]:
        """List the tokens whose books a connection brings, or is asked to."""
        tokens = [token for token in self.tokens.values() if conn in (token.conn, token.link)]
        if self.before_reading is not None:
            self.before_reading(tokens)
        return sorted(tokens, key=PLACE)

    def unmet(self, before: int) -> list[Gap]:
        """List, as gaps, the tokens that were wanted before a time and never had a book or a gap."""
        self._awaited = {token_id: token for token_id, token in self._awaited.items() if token.awaited}
        waiting = sorted(self._awaited.values(), key=PLACE)
        return [
            Gap(started=token.awaited, cause="late opening book", token_id=token.id, conn=token.link)
            for token in waiting
            if token.awaited < before and not token.gaps
        ]

    def distrust(self, token: Token, cause: Cause, started: int, now: int, detail: str) -> None:
        """Note that a book may have changed without us; what it was before is checked first."""
        self.checks.settle(token)
        self.gaps.lose(token, cause, started, now, detail)

    def lose(self, token_id: str, cause: Cause, started: int, now: int, detail: str) -> None:
        """Note that a token's connection is gone: its book ends with what was last heard."""
        token = self.tokens[token_id]
        self.checks.settle(token)
        if token.conn:
            self.gaps.lose(token, cause, started, now, detail)
        self.release(token_id)

    def release(self, token_id: str) -> None:
        """Detach a token from its connection: no change applies before the next snapshot."""
        token = self.tokens[token_id]
        self.checks.settle(token)
        token.conn = token.link = 0
        token.held.clear()

    def resolve(self, token_ids: Iterable[str], now: int) -> bool:
        """End what is open of the tokens of a resolved market; return whether all of them were known to be resolved."""
        tokens = [self.tokens[token_id] for token_id in token_ids if token_id in self.tokens]
        known = bool(tokens) and all(token.over for token in tokens)
        for token in tokens:
            self.checks.settle(token)
            if token.gaps:
                # Nothing more can be missed, but what was is not in its book.
                self.gaps.regain(token, now)
                self.release(token.id)
                self._rows.keyframe(token, now, alone=True)
            token.over, token.awaited = True, 0
        return known

    def drop(self, token_id: str, now: int) -> None:
        """Forget a token that is no longer wanted, writing what is open of it."""
        token = self.tokens.pop(token_id, None)
        if token is None:
            return
        self.checks.settle(token)
        self.gaps.regain(token, now)
        self._forget(token)
        self._note_checked([self._rows.checks(token, now // _MINUTE * _MINUTE)])
        # Messages of its market go on to name it, for a moment or as long as the other outcome is followed.
        self._beside[token.market].add(token_id)

    def save(self, token: Token, now: int, *, row: int = 0) -> TokenState:
        """Write down a token, and its row, for a reader that begins here, or began at a time with rows set aside."""
        self._rows.keyframe(token, now, alone=False, seq=row)
        if row:
            return msgspec.structs.replace(token.save(), at=now, row=row)
        return msgspec.structs.replace(token.save(), beside=sorted(self._beside.get(token.market, ())))

    def save_beside(self) -> dict[str, list[str]]:
        """Write down, by market, whom its messages name beside the tokens that are followed."""
        return {market: sorted(named) for market, named in self._beside.items() if named}

    def load_beside(self, beside: Mapping[str, Iterable[str]]) -> None:
        """Go on from what was written down."""
        for market, named in beside.items():
            self._beside[market].update(named)

    def load(self, state: TokenState, now: int, *, alone: bool = False) -> None:
        """Go on with a token from what was written down, unless it is known; write its row, ``alone`` or with all."""
        token = self.tokens.get(state.token_id) or self._add(Token.load(state))
        self._beside[state.market].update(state.beside)
        self._rows.keyframe(token, state.at or now, alone=alone, seq=state.row)

    @property
    def places(self) -> int:
        """The last place that a token was given; another process goes on from it."""
        return self._places

    @places.setter
    def places(self, last: int) -> None:
        self._places = max(self._places, last)

    def forget(self, is_lacking: Callable[[str, int], bool]) -> None:
        """Forget the tokens, by id and place, whose state a reader that begins at the last cut does not know."""
        for token in [token for token in self.tokens.values() if is_lacking(token.id, token.place)]:
            del self.tokens[token.id]
            self.gaps.forget(token)
            self._forget(token)

    def _forget(self, token: Token) -> None:
        self._awaited.pop(token.id, None)
        self._counted.pop(token.id, None)
        self._of_market[token.market].pop(token.id, None)

    def _place(self, token: Token, market: str) -> None:
        self._of_market[token.market].pop(token.id, None)
        self._of_market[market][token.id] = token
        token.market, token.market_number = market, self._buffers.names[market]

    def _add(self, token: Token) -> Token:
        token.number, token.market_number = self._buffers.names[token.id], self._buffers.names[token.market]
        self.places = token.place = token.place or self._places + 1
        self.tokens[token.id] = self._counted[token.id] = self._of_market[token.market][token.id] = token
        if token.awaited:
            self._awaited[token.id] = token
        self.gaps.note(token)
        return token

    def clear(self) -> None:
        """Forget every token."""
        self.tokens, self._changed, self._untold, self._counted, self._awaited = {}, [], {}, {}, {}
        self._checked = Counts()
        self._of_market.clear()
        self.gaps.clear()
        self.recent.clear()
        self._beside.clear()

    def count(self, token: Token) -> None:
        """Count a message of a token."""
        self._untold[token.id] = token
        token.messages += 1

    # --- what is shown ---

    def take_heard(self) -> dict[str, int]:
        """Return the number of messages of each token since the last call."""
        heard: dict[str, int] = {}
        self._counted |= self._untold
        for token_id, token in self._untold.items():
            heard[token_id], token.told = token.messages - token.told, token.messages
        self._untold.clear()
        return heard

    @property
    def idle(self) -> bool:
        """Whether no state waits to be checked and no depth to be shown."""
        return self.checks.idle and not self._changed

    def depth_rows(self, at: int, depth: int) -> None:
        """Write the best levels of every book that changed since the last time."""
        for token in self._changed:
            token.changed = False
            if token.trusted():
                self._rows.depth(token, at, depth)
        self._changed = []

    def check_rows(self, minute: int) -> None:
        """Write and reset the counts of a minute (nanoseconds since 1970)."""
        counted = sorted((self._counted | self._untold).values(), key=PLACE)
        self._note_checked([self._rows.checks(token, minute) for token in counted])
        self._counted = {token.id: token for token in self.checks.waiting}

    def _note_checked(self, counts: Iterable[tuple[int, ...]]) -> None:
        self._checked = Counts(*map(sum, zip(self._checked.values(), *counts, strict=True)))

    @property
    def checked(self) -> Counts:
        """The outcomes of all checks."""
        return Counts.total([self._checked, *(token.counts for token in (self._counted | self._untold).values())])

    @property
    def counted(self) -> int:
        """At most how many tokens have counts of this minute."""
        return len(self._counted) + len(self._untold)
