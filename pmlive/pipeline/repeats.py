"""Messages that the venue sends again or never sent: what was taken of late, and how far streams were numbered.

Which messages are the same, so that each is applied once and counted:

- A trade or an activity that names its transaction, when that, the token, price, size, side and the venue's time are
  equal (and, for an activity, its type and wallet): on any connection, since the same trade may come by several.
- A trade or an activity without a transaction, only when all of it is equal and it comes again on the same connection
  within a second: two fills may be alike, and nothing else tells them from a repeat.
- The resolution of a market, however it is told, and by whomever.
- Another market event, an order or a trade of the user's, when all of it is equal, so that a new status is a new
  message.
- A reference price, when its topic, symbol, value, source and the venue's time are equal: a snapshot holds what came
  before it.
- A level change, when its time, level, size and hash are equal: `RecentChanges` keeps the last of each connection.

So much is remembered of each table, and written down where a part of a recording begins, so that a reader that begins
there finds the same repeats.
"""

import struct
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec

from pmlive import _wire
from pmlive.book import PRICES, SIZES
from pmlive.errors import ProtocolError
from pmlive.events import Activity, Gap, LevelChange, MarketResolved, PriceChange, ReferencePrice, StreamNumber, Trade
from pmlive.records import Change, LastNumber

__all__ = ["RecentChanges", "Repeats", "StreamNumbers"]

# What tells a message from others, and whether only the moment and the connection tell it from one that is alike.
_Identity: TypeAlias = tuple[Hashable, bool]
_S = 1_000_000_000
# The venue repeats itself within milliseconds.
_MOMENT = _S
# What is kept of a message: its digest, and when it came first.
_MARK_BYTES = 12
_MARK = struct.Struct(f"<{_MARK_BYTES}sq")
# How many messages are remembered; repeated ones come within some milliseconds of the first.
_REMEMBERED = 64
_MOST_CHANNELS = 64
_LONGEST_NAME = 40


_encode = msgspec.json.Encoder(order="deterministic").encode


class _Rule(msgspec.Struct, frozen=True):
    """What makes messages of a table the same, and how many are remembered for how long."""

    identify: Callable[[Any], _Identity]
    most: int = 4096
    lasting: int | None = None


def _trade(event: Trade) -> _Identity:
    if not event.transaction_hash:
        return _encode(event), True
    numbers = (PRICES[event.price], SIZES[event.size], event.timestamp)
    return (event.transaction_hash, event.token_id, event.side, *numbers), False


def _activity(event: Activity) -> _Identity:
    if not event.transaction_hash:
        return _encode(event), True
    trade = (event.transaction_hash, event.token_id, event.price, event.size, event.side, event.timestamp)
    return _encode((event.type, event.proxy_wallet, *trade)), False


def _reference_price(event: ReferencePrice) -> _Identity:
    return _encode((event.topic, event.symbol, event.timestamp, event.value, event.source)), False


def _market_event(event: msgspec.Struct) -> _Identity:
    return _encode(("market_resolved", event.market) if isinstance(event, MarketResolved) else event), False


def _whole(event: msgspec.Struct) -> _Identity:
    return _encode(event), False


_TRADES = _Rule(_trade)
_RULES: dict[str, _Rule] = {
    "trades": _TRADES,
    "activity": _Rule(_activity),
    "market_events": _Rule(_market_event),
    "user_orders": _Rule(_whole),
    "user_trades": _Rule(_whole),
    # A snapshot reaches two minutes back, in steps of a fifth of a second, for each of many symbols.
    "reference_prices": _Rule(_reference_price, most=65_536, lasting=300 * _S),
}


class Repeats:
    """What was taken of late, by table, and how many messages came again."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        # When each message came first, the oldest first. Those that another process took are older than ours, and known
        # by their digests alone, which are not made of ours until they are written down.
        self._taken: defaultdict[str, OrderedDict[Hashable, int]] = defaultdict(OrderedDict)
        self._loaded: dict[str, OrderedDict[bytes, int]] = {}
        # By transaction, the first trade of it; None once another one of it was compared with that.
        self._first: OrderedDict[str, Trade | None] = OrderedDict()

    @property
    def total(self) -> int:
        """The number of messages that came again."""
        return sum(self.counts.values())

    def has(self, table: str, event: msgspec.Struct, conn: int, recv: int) -> bool:
        """Return whether a message came before, and count it; if it did not, remember it."""
        rule = _RULES[table]
        identity, is_fleeting = rule.identify(event)
        key = (identity, conn) if is_fleeting else identity
        taken, loaded = self._taken[table], self._loaded.get(table)
        first = taken.pop(key, None) if is_fleeting else taken.get(key)
        if first is None and loaded:
            first = loaded.get(_mark(key))
        if first is not None and (not is_fleeting or recv - first <= _MOMENT):
            taken.setdefault(key, first)
            self.counts[table] = self.counts.get(table, 0) + 1
            return True
        taken[key] = recv
        if loaded or len(taken) > rule.most or rule.lasting is not None:
            _forget(loaded or OrderedDict(), taken, rule, recv)
        return False

    def has_trade(self, event: Trade, conn: int, recv: int) -> bool:
        """Do the same for a trade: the first of its transaction is new, whatever it says, and most are the first."""
        transaction, first = event.transaction_hash, self._first
        if transaction in first:
            self._compare(transaction)
        elif transaction:
            is_new = not self._loaded.get("trades")
            first[transaction] = event if is_new else None
            if len(first) > _TRADES.most:
                first.popitem(last=False)
            if is_new:
                return False
        return self.has("trades", event, conn, recv)

    def _compare(self, transaction: str) -> None:
        """Index the first trade of a transaction by all that distinguishes it from another of the same."""
        if (alone := self._first[transaction]) is not None:
            self._first[transaction] = None
            # When it came makes no difference to a trade that names its transaction.
            self._taken["trades"][_trade(alone)[0]] = 0

    def again(self, table: str, event: msgspec.Struct, conn: int, recv: int) -> None:
        """Count a message that is known to have come before, and remember it."""
        if not self.has(table, event, conn, recv):
            self.counts[table] = self.counts.get(table, 0) + 1

    def save(self) -> dict[str, bytes]:
        """Write down what is remembered, by table."""
        self._compare_all()
        return {table: marks for table in _RULES if (marks := b"".join(self._marks(table)))}

    def _compare_all(self) -> None:
        for transaction in self._first:
            self._compare(transaction)

    def _marks(self, table: str) -> Iterator[bytes]:
        if table in self._loaded:
            yield from (_MARK.pack(mark, recv) for mark, recv in self._loaded[table].items())
        if table in self._taken:
            yield from (_MARK.pack(_mark(key), recv) for key, recv in self._taken[table].items())

    def load(self, saved: Mapping[str, bytes]) -> None:
        """Remember what was written down, beside what is remembered already."""
        self._compare_all()
        for table, marks in saved.items():
            if table not in _RULES:
                continue
            known = {_mark(key) for key in self._taken[table]}
            loaded = self._loaded.setdefault(table, OrderedDict())
            for mark, recv in _MARK.iter_unpack(marks):
                if mark not in known:
                    loaded[mark] = recv

    def clear(self) -> None:
        """Forget every message; what was counted stays."""
        self._taken.clear()
        self._loaded.clear()
        self._first.clear()


def _mark(key: Hashable) -> bytes:
    return blake2b(_encode(key), digest_size=_MARK_BYTES).digest()


def _forget(loaded: OrderedDict[bytes, int], taken: OrderedDict[Hashable, int], rule: _Rule, recv: int) -> None:
    """Forget the oldest of what is too much, or came too long ago."""
    while len(loaded) + len(taken) > rule.most:
        (loaded or taken).popitem(last=False)
    while rule.lasting is not None and recv - next(iter((loaded or taken).values())) > rule.lasting:
        (loaded or taken).popitem(last=False)


class RecentChanges:
    """What one connection said of levels last, in order of arrival.

    Messages are kept as received, and read again when that is asked for, which is seldom.
    """

    __slots__ = ("_messages", "note")

    def __init__(self, messages: Iterable[bytes] = ()) -> None:
        self._messages: deque[bytes] = deque(messages, maxlen=_REMEMBERED)
        # Remembers a message, once its changes were taken.
        self.note = self._messages.append

    def repeats(self, event: PriceChange, change: LevelChange) -> bool:
        """Return whether this very change came before, of the same state of the book, which its hash identifies."""
        said = (change.size, change.hash)
        return any(
            past.timestamp == event.timestamp and _is_same_level(other, change) and (other.size, other.hash) == said
            for past, other in self._before(event, change)
        )

    def overtakes(self, event: PriceChange, change: LevelChange) -> bool:
        """Return whether a newer change of the same level came before, or may have so long ago that it is forgotten."""
        if not self.reaches(event.timestamp):
            return True
        return any(
            past.timestamp > event.timestamp and _is_same_level(other, change)
            for past, other in self._before(event, change)
        )

    def reaches(self, timestamp: int) -> bool:
        """Return whether every message after a time of the venue (ms) is remembered."""
        return len(self._messages) < _REMEMBERED or next(self._events()).timestamp <= timestamp

    def since(self, token_id: str, timestamp: int) -> list[Change]:
        """List the changes of a token that are newer than a time, but for those that were refused."""
        return [
            (past.timestamp, change.side, change.price, change.size)
            for past in self._events()
            if past.timestamp > timestamp
            for change in past.changes
            if change.token_id == token_id and _is_readable(change)
        ]

    def save(self) -> list[bytes]:
        """Write down what is remembered."""
        return list(self._messages)

    def _events(self) -> Iterator[PriceChange]:
        for message in self._messages:
            yield from (event for event in _wire.decode("market", message) if isinstance(event, PriceChange))

    def _before(self, event: PriceChange, change: LevelChange) -> Iterator[tuple[PriceChange, LevelChange]]:
        for past in self._events():
            yield from ((past, other) for other in past.changes)
        for other in event.changes:
            if other is change:
                return
            yield event, other


def _is_same_level(one: LevelChange, other: LevelChange) -> bool:
    return one.token_id == other.token_id and one.price == other.price and one.side == other.side


def _is_readable(change: LevelChange) -> bool:
    try:
        _ = PRICES[change.price], SIZES[change.size]
    except ProtocolError:
        return False
    return True


class StreamNumbers:
    """How far each channel of each connection was numbered."""

    def __init__(self) -> None:
        self._last: dict[int, dict[str, LastNumber]] = {}

    def missing(self, event: StreamNumber, conn: int, recv: int, *, opened: int) -> Gap | None:
        """Note a number; return the gap before it, if messages were lost there.

        The first of a channel is whatever it is, since a capture may begin anywhere. What the venue says it dropped may
        or may not have had numbers, so the larger of the two is what was lost. A number that came before is a repeat.
        """
        channels = self._last.setdefault(conn, {})
        first = 1 if event.number is None else event.number
        last, since = channels.get(event.word, (first - 1, opened))
        number = last + 1 if event.number is None else event.number
        if number > last and (event.word in channels or len(channels) < _MOST_CHANNELS):
            channels[event.word] = number, recv
        lost = max(number - last - 1, event.dropped if number > last else 0)
        if lost <= 0:
            return None
        who = "the venue dropped" if event.dropped else "there are no"
        messages = "1 message" if lost == 1 else f"{lost} messages"
        detail = f"{who} {messages} of {event.word[:_LONGEST_NAME]} before number {number}"
        return Gap(started=min(since, recv), ended=recv, cause="overflow", detail=detail, conn=conn)

    def drop(self, conn: int) -> None:
        """Forget a connection that ended: the next begins with 1."""
        self._last.pop(conn, None)

    def clear(self) -> None:
        """Forget every connection."""
        self._last.clear()

    def save(self, conn: int) -> dict[str, LastNumber]:
        """Write down how far a connection was numbered."""
        return dict(self._last.get(conn, {}))

    def load(self, conn: int, standings: Mapping[str, LastNumber]) -> None:
        """Go on from what was written down."""
        if standings:
            self._last[conn] = dict(standings)
