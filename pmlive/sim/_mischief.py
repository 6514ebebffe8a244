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
_GARBAGE = ("json", "element", "nan", "negative", "above one", "unknown")
_BAD_PRICES = {"nan": "NaN", "negative": "-0.25", "above one": "1.25"}


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
            return [heard]
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
            return self._garbled(message, fault.detail or next(self._garbage))
        for kind, lie in _LIES.items():
            if fault := self._strike(kind, message):
                message = _rewritten(message, _lying(fault, lie))
        if fault := self._strike("duplicate", message):
            return [message, _rewritten(message, _swapped) if fault.detail == "swapped" else message]
        if self._duplicates and self._rng.random() < self._duplicates:
            return [message, _rewritten(message, _swapped) if self._rng.random() < 1 / 2 else message]
        return [message]

    def _garbled(self, message: Message, detail: str) -> list[Message]:
        if detail in _BAD_PRICES:
            bad = _BAD_PRICES[detail]
            return [_rewritten(message, lambda entries: [entry | {"price": bad} for entry in entries])]
        if detail == "json":
            return [_with_text(message, message.text[: len(message.text) * 2 // 3])]
        if detail == "element":
            return [_with_text(message, f"[{message.text},17]")]
        return [_with_text(message, _UNKNOWN), message]

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


_LIES: dict[FaultKind, Callable[[dict[str, str]], dict[str, str]]] = {"lie": _lie_of_hash, "lie_best": _lie_of_best}


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
