"""The faults: which are in force, how often each has struck, and what they make of the market channel's messages."""

import time
from collections.abc import Callable, Collection, Iterator
from itertools import cycle
from random import Random
from typing import Literal, TypeAlias

import msgspec

from pmlive.sim._order_book import Message

__all__ = ["MESSAGE_FAULTS", "Fault", "FaultChannel", "FaultKind", "Faults", "Mischief"]

FaultChannel: TypeAlias = Literal["market", "user", "realtime", "prices", "clob", "gamma"]
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
# These befall messages of the market channel, by default the next one; the others last until cleared.
MESSAGE_FAULTS: frozenset[FaultKind] = frozenset(
    ("garbage", "lie", "lie_best", "cross", "duplicate", "reorder", "skip", "no_opening")
)
_Entries: TypeAlias = list[dict[str, str]]
_UNKNOWN = '{"event_type":"liquidity_weather","asset_id":"0","forecast":{"chance":"0.4"}}'
# What a spoilt change may be by default, each in turn; ``_SPOILT`` and ``_REWRITTEN`` have the others.
_GARBAGE = ("json", "element", "nan", "negative", "above one", "unknown")
_DEEP = 50_000


class Fault:
    """One fault in force: ``count`` tells how often it struck, ``clear`` ends it."""

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
        """Tell whether it can still strike."""
        return self._left != 0 and (self._until is None or now < self._until)

    def fits(self, channel: FaultChannel, tokens: Collection[str] | None) -> bool:
        """Tell whether it is about this channel and any of these tokens; None stands for no token at all."""
        on_token = self.token_id is None or (tokens is not None and self.token_id in tokens)
        return on_token and self.channel in (None, channel)

    def struck(self) -> None:
        """Count one blow."""
        self.count += 1
        if self._left:
            self._left -= 1

    def clear(self) -> None:
        """End it."""
        self._left = 0


class Faults:
    """The faults of one venue; adding is safe from any thread, striking is the venue's own loop's."""

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
        """Put a fault in force, for so many times or seconds."""
        if times is None and seconds is None and kind in MESSAGE_FAULTS:
            times = 1
        until = None if seconds is None else self._clock() + seconds
        fault = Fault(kind, channel=channel, token_id=token_id, times=times, until=until, detail=detail, number=number)
        self._faults.append(fault)
        return fault

    def find(self, kind: FaultKind, channel: FaultChannel, tokens: Collection[str] | None = None) -> Fault | None:
        """Find a fault in force that fits, without striking."""
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
        """Find a fault in force that fits, and count the blow."""
        fault = self.find(kind, channel, tokens)
        if fault is not None:
            fault.struck()
        return fault

    def clear(self) -> None:
        """End every fault."""
        for fault in list(self._faults):
            fault.clear()


class _PriceChange(msgspec.Struct):
    market: str
    price_changes: list[dict[str, str]]
    timestamp: str
    event_type: str


_DECODER = msgspec.json.Decoder(_PriceChange)


class Mischief:
    """Treats messages with the faults in force; ``duplicates`` is how often the venue repeats itself anyway."""

    def __init__(self, faults: Faults, *, seed: int = 0, duplicates: float = 0.0) -> None:
        self._faults = faults
        self._rng = Random(f"{seed}/mischief")
        self._duplicates = duplicates
        self._held: dict[str, Message] = {}
        self._garbage = cycle(_GARBAGE)
        self.withheld: list[Message] = []

    def treat(self, step: list[Message]) -> list[Message]:
        """Give what is really sent of one step; what is kept back goes to ``withheld``."""
        if not self._faults and not self._duplicates and not self._held:
            return step
        lone = not any(message.kind == "book" for message in step)
        return [sent for message in step for sent in self._one(message, lone=lone)]

    def release(self) -> list[Message]:
        """Give what was kept back, once."""
        released, self.withheld = self.withheld, []
        return released

    def _one(self, message: Message, *, lone: bool) -> list[Message]:
        heard = self._without_silent(message)
        if heard is None or self._keeps_outcome(heard):
            return []
        if heard.kind == "book" and self._strike("lie", heard):
            return [_with_text(heard, _book_lie(heard.text))]
        if heard.kind != "price_change":
            return self._repeated(heard)
        # A lost or late change that a whole book follows at once would do no harm.
        if lone and self._strike("skip", heard):
            self.withheld.append(heard)
            return []
        late = self._held.pop(heard.market, None)
        if late is None and lone and self._strike("reorder", heard):
            self._held[heard.market] = heard
            return []
        sent = self._spoilt(heard)
        return sent if late is None else [*sent, late]

    def _keeps_outcome(self, message: Message) -> bool:
        if message.kind != "market_resolved" or not self._strike("no_resolution", message):
            return False
        self.withheld.append(message)
        return True

    def _spoilt(self, message: Message) -> list[Message]:
        if fault := self._strike("garbage", message):
            return _garbled(message, fault.detail or next(self._garbage))
        for kind, lie in _LIES.items():
            if fault := self._strike(kind, message):
                message = _rewritten(message, _lying(fault, lie))
        duplicate = self._faults.find("duplicate", "market", message.tokens)
        if duplicate is not None and duplicate.detail != "trade":
            fault = duplicate
            fault.struck()
            return [message, _rewritten(message, _swapped) if fault.detail == "swapped" else message]
        if self._duplicates and self._rng.random() < self._duplicates:
            return [message, _rewritten(message, _swapped) if self._rng.random() < 1 / 2 else message]
        return [message]

    def _repeated(self, message: Message) -> list[Message]:
        fault = self._faults.find("duplicate", "market", message.tokens)
        if message.kind != "last_trade_price" or fault is None or fault.detail != "trade":
            return [message]
        fault.struck()
        return [message, message]

    def _without_silent(self, message: Message) -> Message | None:
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
        return _rewritten(message, lambda entries: [entry for entry in entries if entry["asset_id"] not in silent])

    def _strike(self, kind: FaultKind, message: Message) -> Fault | None:
        return self._faults.strike(kind, "market", message.tokens)


def _lying(fault: Fault, lie: Callable[[dict[str, str]], dict[str, str]]) -> Callable[[_Entries], _Entries]:
    return lambda entries: [lie(entry) if fault.token_id in (None, entry["asset_id"]) else entry for entry in entries]


def _lie_of_hash(entry: dict[str, str]) -> dict[str, str]:
    return entry | {"hash": entry["hash"][::-1]}


def _lie_of_best(entry: dict[str, str]) -> dict[str, str]:
    return entry | {"best_bid": "0.001" if entry["best_bid"] != "0.001" else "0.002"}


def _lie_that_crosses(entry: dict[str, str]) -> dict[str, str]:
    """Let somebody bid more than the best ask, which no true book has."""
    return entry | {"side": "BUY", "price": "0.999", "size": "123"}


_LIES: dict[FaultKind, Callable[[dict[str, str]], dict[str, str]]] = {
    "lie": _lie_of_hash,
    "lie_best": _lie_of_best,
    "cross": _lie_that_crosses,
}


def _not_utf8(text: str) -> str:
    return f"\udcff\udcfe{text}"


def _other_kind(text: str) -> str:
    return text.replace('"event_type":"price_change"', '"event_type":"price_change_v9"')


_SPOILT: dict[str, Callable[[str], str]] = {
    "json": lambda text: text[: len(text) * 2 // 3],
    "element": lambda text: f"[{text},17]",
    "utf8": _not_utf8,
    "deep": lambda _: "[" * _DEEP,
    "nul": lambda text: "\x00" * len(text),
    "empty": lambda _: "",
    "kind": _other_kind,
}


def _renamed(name: str, other: str) -> Callable[[_Entries], _Entries]:
    return lambda entries: [{other if key == name else key: entry[key] for key in entry} for entry in entries]


def _missing(entries: _Entries) -> _Entries:
    return [{key: value for key, value in entry.items() if key != "size"} for entry in entries]


def _priced(price: str) -> Callable[[_Entries], _Entries]:
    return lambda entries: [entry | {"price": price} for entry in entries]


def _negative_size(entries: _Entries) -> _Entries:
    return [entry | {"size": "-5"} for entry in entries]


_REWRITTEN: dict[str, Callable[[_Entries], _Entries]] = {
    "renamed": _renamed("price", "px"),
    "unnamed": _renamed("asset_id", "token"),
    "missing": _missing,
    "nan": _priced("NaN"),
    "negative": _priced("-0.25"),
    "above one": _priced("1.25"),
    "torn": lambda entries: entries[:1],
    "negative size": _negative_size,
}


def _garbled(message: Message, detail: str) -> list[Message]:
    if detail in _SPOILT:
        return [_with_text(message, _SPOILT[detail](message.text))]
    if detail in _REWRITTEN:
        return [_rewritten(message, _REWRITTEN[detail])]
    if detail == "binary":
        return [msgspec.structs.replace(message, binary=True)]
    return [_with_text(message, _UNKNOWN), message]


def _swapped(entries: _Entries) -> _Entries:
    return entries[::-1]


def _rewritten(message: Message, change: Callable[[_Entries], _Entries]) -> Message:
    frame = _DECODER.decode(message.text)
    frame.price_changes = change(frame.price_changes)
    return _with_text(message, msgspec.json.encode(frame).decode())


def _book_lie(text: str) -> str:
    book: dict[str, object] = msgspec.json.decode(text, type=dict[str, object])
    return msgspec.json.encode(book | {"hash": str(book["hash"])[::-1]}).decode()


def _with_text(message: Message, text: str) -> Message:
    return msgspec.structs.replace(message, text=text)
