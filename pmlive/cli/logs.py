"""The library's log on the standard error: warnings, and with ``-v`` what happens as well."""

import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from queue import Full, Queue
from threading import Event, Thread
from typing import Literal, TypeAlias

from pmlive.cli.output import Output
from pmlive.settings import SECRET_NAMES, Variables

__all__ = ["shown"]

# A simulated venue in this process says each connection's beginning and end, which is the demo's own business.
# Updates of the MCP server appear where a client asked for the log.
_LEVELS = {
    "pmlive": logging.WARNING,
    "pmlive.mcp.updates": logging.INFO,
    "mcp": logging.WARNING,
    "websockets.server": logging.WARNING,
    "asyncio": logging.ERROR,
}
_MOST_ASIDE = 1_000
_LAST_WORDS = 0.5
# Shorter values are words that a message may hold for other reasons.
_SECRET_FROM = 6


Manner: TypeAlias = Literal["here", "aside"]


@contextmanager
def shown(out: Output, *, verbose: bool, manner: Manner = "here") -> Generator[None]:
    """Show the log and Python's warnings in this block, one plain line each.

    Args:
        out: where to.
        verbose: show what happens as well, and where what failed did.
        manner: ``aside`` is for a program that reads the log as it likes: in a thread of its own, which drops and
            counts what is not read; with what failed goes where, as nobody is there to ask again with ``-v``.
    """
    aside = _Aside(out.note) if manner == "aside" else None
    handler = _Handler(aside or out.note, tracebacks=verbose or aside is not None, flush=aside.flush if aside else None)
    levels = _LEVELS | ({"pmlive": logging.INFO} if verbose else {})
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in levels}
    for name, level in levels.items():
        _direct(logging.getLogger(name), handler, level)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = handler.warned
            handler.secrets = _secrets()
            yield
    finally:
        handler.flush()
        for name, (level, propagate) in before.items():
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).propagate = propagate


def _direct(logger: logging.Logger, handler: logging.Handler, level: int) -> None:
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


class _Handler(logging.Handler):
    def __init__(
        self, say: Callable[[str], object], *, tracebacks: bool, flush: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        self.secrets: list[str] = []
        self._say = say
        self._tracebacks = tracebacks
        self._flush = flush

    def flush(self) -> None:
        if self._flush is not None:
            self._flush()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info is not None and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
            if self._tracebacks:
                text += f"\n{logging.Formatter().formatException(record.exc_info)}"
        self.line(record.levelname.lower(), text)

    def warned(self, message: Warning | str, *_: object) -> None:
        """Show one of Python's own warnings."""
        self.line("warning", str(message))

    def line(self, level: str, text: str) -> None:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        self._say(f"pmlive: {level}: {text}")


class _Aside:
    """Says things in a thread of its own; what there is no room for is dropped and counted."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._waiting: Queue[str | Event] = Queue(_MOST_ASIDE)
        self._dropped = 0
        Thread(target=self._run, name="pmlive log", daemon=True).start()

    def __call__(self, text: str) -> None:
        try:
            self._waiting.put_nowait(text)
        except Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until everything is said, but not for somebody who does not listen."""
        said = Event()
        try:
            self._waiting.put(said, timeout=_LAST_WORDS)
        except Full:
            return
        said.wait(_LAST_WORDS)

    def _run(self) -> None:
        while True:
            next_ = self._waiting.get()
            if isinstance(next_, Event):
                next_.set()
                continue
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self._say(f"pmlive: warning: {dropped} lines of the log before this one are not shown")
            self._say(next_)


def _secrets() -> list[str]:
    """List what must never be shown; the library keeps it out of its log, and this keeps it out of the terminal."""
    given = Variables.read()
    return [given[name] for name in SECRET_NAMES if name in given and len(given[name]) >= _SECRET_FROM]
