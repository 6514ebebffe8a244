"""The line that tells of a long command what share is done, at what rate, and how long the rest may take."""

import time
from collections.abc import Callable
from functools import partial

import msgspec

from pmlive.cli.terminal import Output, Screen, format_duration

__all__ = ["ProgressLine"]

# The least and the most characters that a bar is drawn with, and the least seconds between two lines.
_LEAST, _MOST = 5, 30
_EVERY_S = 0.1


class ProgressLine:
    """Shows on a terminal how far a command has come; call it with how much is done, and how much there is.

    Args:
        out: where.
        doing: what the command does, such as ``verifying``.
        noun: what is counted, such as ``records``.
        clock: seconds.
    """

    def __init__(self, out: Output, doing: str, noun: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._doing = doing
        self._noun = noun
        self._clock = clock
        self._began = self._last = clock()
        out.progress(doing)

    def __call__(self, done: int, total: int | None) -> None:
        """Show it, unless it was shown just now; of what has no known total, only how much is done."""
        now = self._clock()
        if now - self._last < _EVERY_S and done != total:
            return
        self._last = now
        state = _State(doing=self._doing, noun=self._noun, done=done, total=total, elapsed=now - self._began)
        self._out.draw(partial(_lines, state))


class _State(msgspec.Struct, frozen=True, kw_only=True):
    doing: str
    noun: str
    done: int
    total: int | None
    elapsed: float


def _lines(state: _State, screen: Screen) -> list[str]:
    rate = state.done / state.elapsed if state.elapsed else 0.0
    if not state.total:
        return [f"{state.doing}  {state.done:,} {state.noun}  {_rate_text(rate)}"[: screen.columns - 1]]
    share = min(1.0, state.done / state.total)
    parts = [f"{share:4.0%}", f"{state.done:,} of {state.total:,} {state.noun}", _rate_text(rate)]
    if state.done and share < 1:
        parts.append(f"{format_duration(state.elapsed * (1 - share) / share)} left")
    text = "  ".join(parts)
    room = min(_MOST, screen.columns - 1 - len(state.doing) - len(text) - 4)
    bar = f"{_bar(share, room, screen)}  " if room >= _LEAST else ""
    return [f"{state.doing}  {bar}{text}"[: screen.columns - 1]]


def _rate_text(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 1 else f"{rate:.1f}/s"


def _bar(share: float, width: int, screen: Screen) -> str:
    full, empty = ("━", "─") if screen.is_unicode else ("#", ".")
    filled = int(share * width)
    return full * filled + empty * (width - filled)
