"""Faults of messages: what cannot be read, what says nothing true, what comes twice or never."""

from functools import partial

from pmlive.cli.faults.row import Expected, Row
from pmlive.cli.faults.scene import Scene
from pmlive.sim import FaultKind

__all__ = ["MESSAGES"]

# Whose it was is known for some, so that the others may go on.
# A whole book may be back within milliseconds, sooner than anybody sees that one refused.
_DOUBTED = Expected(causes=frozenset({"malformed", "mismatch"}), gaps="at least one", refused="any")
_ALL_DOUBTED = Expected(causes=frozenset({"malformed", "mismatch"}), gaps="all", refused="any")
# A state that the next one makes right is not proved, and is no gap.
_WRONG = Expected(causes=frozenset({"malformed", "mismatch"}), gaps="any", refused="any", code=None)
_HARMLESS = Expected(causes=frozenset(), gaps="none", refused="none", code=0)
_COUNTED = Expected(causes=frozenset({"malformed"}), gaps="none", refused="none", code=1)
_LONG_ENOUGH = 2.0


def _one(kind: FaultKind, detail: str, scene: Scene) -> None:
    """Spoil one message, and see what is made of it for a while."""
    fault = scene.sim.fault(kind, channel="market", detail=detail)
    scene.until(lambda: fault.count, "a message to spoil")
    scene.calm(_LONG_ENOUGH)


def _many(kind: FaultKind, detail: str, scene: Scene) -> None:
    """Spoil every message for some seconds, as after a change at the venue."""
    fault = scene.sim.fault(kind, channel="market", detail=detail, seconds=4.0)
    scene.until(lambda: fault.count, "a message to spoil")
    scene.calm(4.0)


def _row(name: str, kind: FaultKind, detail: str, expected: Expected) -> Row:
    return Row(name=name, group="message", act=partial(_one, kind, detail), expected=expected)


def _rows(name: str, kind: FaultKind, detail: str, expected: Expected) -> Row:
    return Row(name=name, group="message", act=partial(_many, kind, detail), expected=expected)


MESSAGES: tuple[Row, ...] = (
    _row("half of a JSON text", "garbage", "json", _DOUBTED),
    _row("bytes that are no UTF-8", "garbage", "utf8", _ALL_DOUBTED),
    _row("50,000 brackets", "garbage", "deep", _ALL_DOUBTED),
    _row("NUL bytes", "garbage", "nul", _ALL_DOUBTED),
    _row("an empty text", "garbage", "empty", _ALL_DOUBTED),
    _row("a change in a binary frame", "garbage", "binary", _HARMLESS),
    _row("an element that is no message", "garbage", "element", _ALL_DOUBTED),
    _row("a kind that is not known, of a token", "garbage", "kind", _DOUBTED),
    _row("a kind that is not known, of nobody here", "garbage", "unknown", _COUNTED),
    _row("a key with another name", "garbage", "renamed", _DOUBTED),
    _row("a token under another name", "garbage", "unnamed", _DOUBTED),
    _rows("keys with other names for good", "garbage", "renamed", _DOUBTED),
    _rows("kinds that are not known for good", "garbage", "kind", _DOUBTED),
    _row("a field that is missing", "garbage", "missing", _DOUBTED),
    _row("a change that is torn", "garbage", "torn", _WRONG),
    _row("a price that is no number", "garbage", "nan", _DOUBTED),
    _row("a price below 0", "garbage", "negative", _DOUBTED),
    _row("a price above 1", "garbage", "above one", _DOUBTED),
    _row("a size below 0", "garbage", "negative size", _DOUBTED),
    _row("a change that is lost", "skip", "", _WRONG),
    _row("two changes in the wrong order", "reorder", "", _WRONG),
    _row("a change twice", "duplicate", "", _HARMLESS),
    _row("a change twice, turned around", "duplicate", "swapped", _HARMLESS),
    _row("a trade twice", "duplicate", "trade", _HARMLESS),
    _row("a hash that is wrong", "lie", "", _WRONG),
    _row("a best bid that is wrong", "lie_best", "", _WRONG),
    _row("a book that crosses itself", "cross", "", _WRONG),
)
