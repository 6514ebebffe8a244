"""Faults of the market channel's messages: pure, message in, messages out."""

from collections.abc import Callable
from itertools import cycle
from random import Random
from typing import TypeAlias

import msgspec

from pmlive.sim._faults import Fault, FaultKind, Faults
from pmlive.sim._frames import Message

__all__ = ["Mischief"]

_Entries: TypeAlias = list[dict[str, str]]

_UNKNOWN = '{"event_type":"liquidity_weather","asset_id":"0","forecast":{"chance":"0.4"}}'
# What a spoilt change may be by default, each in turn; ``_SPOILT`` and ``_REWRITTEN`` have the others.
_GARBAGE = ("json", "element", "nan", "negative", "above one", "unknown")
_DEEP = 50_000


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
