"""Faults: those in force, how often each has struck, their effects on messages, and a venue that is offline."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain, cycle
from pathlib import Path
from random import Random
from typing import Literal, TypeAlias

import msgspec

from pmlive.sim._exchange import MarketModel
from pmlive.sim._markets import Market, MarketMessage, markets

__all__ = [
    "Fault",
    "FaultChannel",
    "FaultKind",
    "Faults",
    "MessageFaults",
    "Script",
    "Tape",
    "write_script",
]

FaultChannel: TypeAlias = Literal["market", "user", "realtime", "prices", "clob", "gamma", "data"]
FaultKind: TypeAlias = Literal[
    "drop",
    "close",
    "stall",
    "silent",
    "garbage",
    "slow",
    "refuse",
    "lie",
    "lie_best",
    "duplicate",
    "reorder",
    "skip",
    "no_opening",
    "no_resolution",
    "no_ids",
    "cross",
    "dead",
    "deny",
    "forget",
    "giant",
    "no_http",
]
# Faults of the market channel's messages, which strike the next one by default; all others last until cleared.
MESSAGE_FAULTS: frozenset[FaultKind] = frozenset(
    ("garbage", "lie", "lie_best", "cross", "duplicate", "reorder", "skip", "no_opening")
)
_Entry: TypeAlias = dict[str, str]
_Entries: TypeAlias = list[_Entry]

_UNKNOWN_KIND = '{"event_type":"liquidity_weather","asset_id":"0","forecast":{"chance":"0.4"}}'
# The kinds of garbage used by default, in turn; ``_TEXT_GARBAGE`` and ``_ENTRY_GARBAGE`` have the others.
_DEFAULT_GARBAGE = ("json", "element", "nan", "negative", "above one", "unknown")
_NESTING = 50_000


class Fault:
    """One fault: ``count`` is how often it struck, ``clear`` ends it."""

    def __init__(
        self,
        kind: FaultKind,
        *,
        channel: FaultChannel | None = None,
        token_id: str | None = None,
        times: int | None = None,
        until: float | None = None,
        detail: str = "",
        number: int | None = None,
    ) -> None:
        self.kind: FaultKind = kind
        self.channel: FaultChannel | None = channel
        self.token_id = token_id
        self.detail = detail
        self.number = number
        self.count = 0
        self._left = times
        self._until = until

    def __repr__(self) -> str:
        return f"Fault({self.kind!r}, channel={self.channel!r}, token_id={self.token_id!r}, count={self.count})"

    def in_force(self, now: float) -> bool:
        """Return whether it can still strike."""
        return self._left != 0 and (self._until is None or now < self._until)

    def fits(self, channel: FaultChannel, tokens: Collection[str] | None) -> bool:
        """Return whether it concerns this channel and any of these tokens; None means no token."""
        on_token = self.token_id is None or (tokens is not None and self.token_id in tokens)
        return on_token and self.channel in (None, channel)

    def struck(self) -> None:
        """Count one strike."""
        self.count += 1
        if self._left:
            self._left -= 1

    def clear(self) -> None:
        """End the fault."""
        self._left = 0


class Faults:
    """The faults of one venue; add from any thread, strike from the venue's own event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._faults: list[Fault] = []
        self._past: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter([*self._past, *self._faults])

    def add(
        self,
        kind: FaultKind,
        *,
        channel: FaultChannel | None = None,
        token_id: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        detail: str = "",
        number: int | None = None,
    ) -> Fault:
        """Add a fault that lasts for a number of strikes or of seconds."""
        if times is None and seconds is None and kind in MESSAGE_FAULTS:
            times = 1
        until = None if seconds is None else self._clock() + seconds
        fault = Fault(kind, channel=channel, token_id=token_id, times=times, until=until, detail=detail, number=number)
        self._faults.append(fault)
        return fault

    def find(self, kind: FaultKind, channel: FaultChannel, tokens: Collection[str] | None = None) -> Fault | None:
        """Find a fault in force that fits, without counting a strike."""
        if not self._faults:
            return None
        now = self._clock()
        for fault in list(self._faults):
            if not fault.in_force(now):
                self._faults.remove(fault)
                self._past.append(fault)
            elif fault.kind == kind and fault.fits(channel, tokens):
                return fault
        return None

    def strike(self, kind: FaultKind, channel: FaultChannel, tokens: Collection[str] | None = None) -> Fault | None:
        """Find a fault in force that fits, and count a strike."""
        fault = self.find(kind, channel, tokens)
        if fault is not None:
            fault.struck()
        return fault

    def clear(self) -> None:
        """End every fault."""
        for fault in list(self._faults):
            fault.clear()


class _PriceChangeFrame(msgspec.Struct):
    market: str
    price_changes: _Entries
    timestamp: str
    event_type: str


_DECODER = msgspec.json.Decoder(_PriceChangeFrame)


class MessageFaults:
    """The faults applied to messages; ``duplicates`` is the share of changes that the venue repeats without a fault."""

    def __init__(self, faults: Faults, *, seed: int = 0, duplicates: float = 0.0) -> None:
        self._faults = faults
        self._rng = Random(f"{seed}/mischief")
        self._duplicates = duplicates
        self._delayed: dict[str, MarketMessage] = {}
        self._garbage = cycle(_DEFAULT_GARBAGE)
        self.withheld: list[MarketMessage] = []

    def apply(self, step: list[MarketMessage]) -> list[MarketMessage]:
        """Return what is sent of one step; what is not goes to ``withheld``."""
        if not self._faults and not self._duplicates and not self._delayed:
            return step
        has_no_book = not any(message.kind == "book" for message in step)
        return [sent for message in step for sent in self._apply_one(message, has_no_book=has_no_book)]

    def release(self) -> list[MarketMessage]:
        """Return the withheld messages, once."""
        released, self.withheld = self.withheld, []
        return released

    def _apply_one(self, message: MarketMessage, *, has_no_book: bool) -> list[MarketMessage]:
        remaining = self._without_silent(message)
        if remaining is None or self._withholds_outcome(remaining):
            return []
        if remaining.kind == "book" and self._strike("lie", remaining):
            return [_with_text(remaining, _wrong_book_hash(remaining.text))]
        if remaining.kind != "price_change":
            return self._with_repeats(remaining)
        # A lost or late change does no harm where a whole book follows in the same step.
        if has_no_book and self._strike("skip", remaining):
            self.withheld.append(remaining)
            return []
        delayed = self._delayed.pop(remaining.market, None)
        if delayed is None and has_no_book and self._strike("reorder", remaining):
            self._delayed[remaining.market] = remaining
            return []
        sent = self._corrupted(remaining)
        return sent if delayed is None else [*sent, delayed]

    def _withholds_outcome(self, message: MarketMessage) -> bool:
        if message.kind != "market_resolved" or not self._strike("no_resolution", message):
            return False
        self.withheld.append(message)
        return True

    def _corrupted(self, message: MarketMessage) -> list[MarketMessage]:
        if fault := self._strike("garbage", message):
            return _garbage_messages(message, fault.detail or next(self._garbage))
        for kind, falsify in _FALSE_ENTRIES.items():
            if fault := self._strike(kind, message):
                message = _with_entries(message, _on_token(fault, falsify))
        fault = self._faults.find("duplicate", "market", message.tokens)
        if fault is not None and fault.detail != "trade":
            fault.struck()
            return [message, _with_entries(message, _reversed) if fault.detail == "swapped" else message]
        if self._duplicates and self._rng.random() < self._duplicates:
            return [message, _with_entries(message, _reversed) if self._rng.random() < 1 / 2 else message]
        return [message]

    def _with_repeats(self, message: MarketMessage) -> list[MarketMessage]:
        fault = self._faults.find("duplicate", "market", message.tokens)
        if message.kind != "last_trade_price" or fault is None or fault.detail != "trade":
            return [message]
        fault.struck()
        return [message, message]

    def _without_silent(self, message: MarketMessage) -> MarketMessage | None:
        silent = {token for token in message.tokens if self._faults.find("silent", "market", (token,))}
        if not silent:
            return message
        for token in silent:
            self._faults.strike("silent", "market", (token,))
        rest = tuple(token for token in message.tokens if token not in silent)
        if not rest:
            self.withheld.append(message)
            return None
        if message.kind != "price_change":
            return message
        return _with_entries(message, lambda entries: [entry for entry in entries if entry["asset_id"] not in silent])

    def _strike(self, kind: FaultKind, message: MarketMessage) -> Fault | None:
        return self._faults.strike(kind, "market", message.tokens)


def _on_token(fault: Fault, falsify: Callable[[_Entry], _Entry]) -> Callable[[_Entries], _Entries]:
    return lambda entries: [
        falsify(entry) if fault.token_id in (None, entry["asset_id"]) else entry for entry in entries
    ]


def _wrong_hash(entry: _Entry) -> _Entry:
    return entry | {"hash": entry["hash"][::-1]}


def _wrong_best_bid(entry: _Entry) -> _Entry:
    return entry | {"best_bid": "0.001" if entry["best_bid"] != "0.001" else "0.002"}


def _crossed(entry: _Entry) -> _Entry:
    """Bid more than the best ask, which no true book has."""
    return entry | {"side": "BUY", "price": "0.999", "size": "123"}


_FALSE_ENTRIES: dict[FaultKind, Callable[[_Entry], _Entry]] = {
    "lie": _wrong_hash,
    "lie_best": _wrong_best_bid,
    "cross": _crossed,
}


def _not_utf8(text: str) -> str:
    return f"\udcff\udcfe{text}"


def _other_kind(text: str) -> str:
    return text.replace('"event_type":"price_change"', '"event_type":"price_change_v9"')


_TEXT_GARBAGE: dict[str, Callable[[str], str]] = {
    "json": lambda text: text[: len(text) * 2 // 3],
    "element": lambda text: f"[{text},17]",
    "utf8": _not_utf8,
    "deep": lambda _: "[" * _NESTING,
    "nul": lambda text: "\x00" * len(text),
    "empty": lambda _: "",
    "kind": _other_kind,
}


def _renaming(name: str, other: str) -> Callable[[_Entries], _Entries]:
    return lambda entries: [{other if key == name else key: entry[key] for key in entry} for entry in entries]


def _without_size(entries: _Entries) -> _Entries:
    return [{key: value for key, value in entry.items() if key != "size"} for entry in entries]


def _pricing(price: str) -> Callable[[_Entries], _Entries]:
    return lambda entries: [entry | {"price": price} for entry in entries]


def _negative_size(entries: _Entries) -> _Entries:
    return [entry | {"size": "-5"} for entry in entries]


_ENTRY_GARBAGE: dict[str, Callable[[_Entries], _Entries]] = {
    "renamed": _renaming("price", "px"),
    "unnamed": _renaming("asset_id", "token"),
    "missing": _without_size,
    "nan": _pricing("NaN"),
    "negative": _pricing("-0.25"),
    "above one": _pricing("1.25"),
    "torn": lambda entries: entries[:1],
    "negative size": _negative_size,
}


def _garbage_messages(message: MarketMessage, detail: str) -> list[MarketMessage]:
    if detail in _TEXT_GARBAGE:
        return [_with_text(message, _TEXT_GARBAGE[detail](message.text))]
    if detail in _ENTRY_GARBAGE:
        return [_with_entries(message, _ENTRY_GARBAGE[detail])]
    if detail == "binary":
        return [msgspec.structs.replace(message, binary=True)]
    return [_with_text(message, _UNKNOWN_KIND), message]


def _reversed(entries: _Entries) -> _Entries:
    return entries[::-1]


def _with_entries(message: MarketMessage, change: Callable[[_Entries], _Entries]) -> MarketMessage:
    frame = _DECODER.decode(message.text)
    frame.price_changes = change(frame.price_changes)
    return _with_text(message, msgspec.json.encode(frame).decode())


def _wrong_book_hash(text: str) -> str:
    book: dict[str, object] = msgspec.json.decode(text, type=dict[str, object])
    return msgspec.json.encode(book | {"hash": str(book["hash"])[::-1]}).decode()


def _with_text(message: MarketMessage, text: str) -> MarketMessage:
    return msgspec.structs.replace(message, text=text)


# --- a venue that is offline ---
# Messages of simulated markets made without a server: a script to be sent at full speed, a tape with its own clock.

_NS_PER_MS = 1_000_000
# Nanoseconds between the arrivals of messages that were sent together.
_SPACING = 20_000


class Script(msgspec.Struct, frozen=True):
    """Prepared messages, and books by token id: ``opening`` as the socket has them, ``rest`` and ``final`` as REST."""

    markets: list[Market]
    opening: dict[str, str]
    rest: dict[str, str]
    messages: list[MarketMessage]
    final: dict[str, str]


def write_script(
    number: int, *, seed: int, messages: int, depth: int = 20, start: int = 1_790_000_000_000, per_second: int = 30_000
) -> Script:
    """Write at least ``messages`` messages of ``number`` markets; the same arguments write the same script.

    ``start`` is in milliseconds since 1970, and ``per_second`` the number of messages in a second of the venue's clock.

    >>> script = write_script(2, seed=7, messages=100)
    >>> script == write_script(2, seed=7, messages=100), len(script.opening), len(script.messages) >= 100
    (True, 4, True)
    """
    listed = markets(number, seed=seed)
    models = [MarketModel(market, depth=depth, now=start) for market in listed]
    opening, rest = _books(models, "opening"), _books(models, "rest")
    rng, sent = Random(f"{seed}/script"), list[MarketMessage]()
    while len(sent) < messages:
        sent += rng.choice(models).step(start + 1 + len(sent) * 1000 // per_second)
    return Script(listed, opening, rest, sent, _books(models, "rest"))


class Tape:
    """What a client of simulated markets receives, as lines that ``pmlive import`` reads.

    Nothing waits or listens: each call states its time, in milliseconds since 1970, and times must not go back.
    Messages arrive after about ``delay`` milliseconds, in the order in which they were sent. ``depth`` is the number of
    levels of each side, and ``now`` the time of the last call.

    >>> from pmlive.sim import rolling_market
    >>> tape = Tape(seed=7)
    >>> tape.add(rolling_market("btc-updown-5m-1791127800", seed=7), 1_791_127_800_000)
    >>> tape.step("btc-updown-5m-1791127800", 1_791_127_800_250)
    >>> len(tape.lines)
    2
    """

    def __init__(self, *, seed: int = 7, depth: int = 20, delay: float = 30.0) -> None:
        self.lines: list[bytes] = []
        self._rng = Random(f"{seed}/tape")
        self._depth = depth
        self._delay = delay
        self._models: dict[str, MarketModel] = {}
        self._faults = Faults(clock=lambda: self.now / 1000)
        self._message_faults = MessageFaults(self._faults, seed=seed, duplicates=0.001)
        self.now = self._last_recv = 0
        self._reconnect_at: int | None = None

    def add(self, market: Market, at: int, *, belief: Callable[[int], float] | None = None) -> None:
        """Open a market and subscribe to it; ``belief`` returns the probability of its first outcome at a time."""
        self._advance(at)
        self._models[market.slug] = MarketModel(market, depth=self._depth, now=at, belief=belief)
        if self._reconnect_at is None:
            self._subscribe([market.slug])

    def step(self, slug: str, at: int) -> None:
        """Do one random thing in a market."""
        self._advance(at)
        self._receive(self._models[slug].step(at))

    def requote(self, slug: str, at: int) -> None:
        """Let the makers of a market follow the probability at once."""
        self._advance(at)
        self._receive(self._models[slug].requote(at))

    def withdraw(self, slug: str, at: int, *, levels: int = 3) -> None:
        """Let the makers of a market withdraw under uncertainty: cancel the best ``levels`` of each side."""
        self._advance(at)
        self._receive(self._models[slug].withdraw(at, levels))

    def close(self, slug: str, at: int) -> None:
        """Cancel every order of a market."""
        self._advance(at)
        self._receive(self._models[slug].close(at))

    def resolve(self, slug: str, at: int, *, winner: str | None = None) -> None:
        """Resolve a market; the winner is an outcome's name, by default the one that is ahead."""
        self._advance(at)
        model = self._models[slug]
        index = None if winner is None else model.market.outcomes.index(winner)
        self._receive(model.resolve(at, winner=index))

    def fault(
        self, kind: FaultKind, *, token_id: str | None = None, times: int | None = None, seconds: float | None = None
    ) -> Fault:
        """Add a fault to what is received, as ``SimulatedVenue.fault`` does."""
        return self._faults.add(kind, channel="market", token_id=token_id, times=times, seconds=seconds)

    def lose(self, at: int, *, seconds: float) -> None:
        """Break the connection for some seconds; what is sent meanwhile is not received."""
        self._advance(at)
        self._append(self._next_arrival(0.0), type="disconnected", channel="market")
        self._reconnect_at = at + round(seconds * 1000)

    def say(self, text: str, recv: int, *, channel: str = "realtime") -> None:
        """Write a frame of another source, received at ``recv`` (nanoseconds)."""
        self._append(recv, channel=channel, raw=text)

    def write(self, path: Path) -> None:
        """Write the lines to a file, in the order in which they were received."""
        path.write_bytes(b"\n".join(sorted(self.lines, key=_receive_time)) + b"\n")

    def _advance(self, at: int) -> None:
        """Set the time, and reconnect where that is due."""
        if at < self.now:
            raise ValueError(f"invalid time {at}; expected {self.now} or later, as times must not go back")
        self.now = at
        if self._reconnect_at is not None and at >= self._reconnect_at:
            self.now, self._reconnect_at = max(self._reconnect_at, self.now), None
            self._append(self._next_arrival(0.0), type="connected", channel="market")
            self._subscribe(list(self._models))

    def _subscribe(self, slugs: Sequence[str]) -> None:
        models = [self._models[slug] for slug in slugs if self._models[slug].winner is None]
        books = list(chain.from_iterable((model.state.opening_book(outcome) for outcome in (0, 1)) for model in models))
        if books:
            self._append(self._next_arrival(self._draw_delay()), channel="market", raw=f"[{','.join(books)}]")

    def _receive(self, messages: list[MarketMessage]) -> None:
        received = self._message_faults.apply(messages)
        delay = self._draw_delay()
        for message in received if self._reconnect_at is None else []:
            self._append(self._next_arrival(delay), channel="market", raw=message.text)

    def _draw_delay(self) -> float:
        return self._delay * self._rng.lognormvariate(0.0, 0.35)

    def _next_arrival(self, delay: float) -> int:
        self._last_recv = max(self._last_recv + _SPACING, self.now * _NS_PER_MS + round(delay * _NS_PER_MS))
        return self._last_recv

    def _append(self, recv: int, **fields: str) -> None:
        self.lines.append(msgspec.json.encode({"ts_recv": recv, **fields}))


def _books(models: Sequence[MarketModel], form: str) -> dict[str, str]:
    return {
        token: model.state.opening_book(outcome) if form == "opening" else model.state.rest_book(outcome)
        for model in models
        for outcome, token in enumerate(model.market.token_ids)
    }


class _ReceivedLine(msgspec.Struct):
    ts_recv: int


def _receive_time(line: bytes) -> int:
    return msgspec.json.decode(line, type=_ReceivedLine).ts_recv
