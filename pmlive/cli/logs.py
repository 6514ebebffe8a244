"""The library's log on the standard error: warnings, and with ``-v`` what happens as well."""

import logging
import sys
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from pmlive import logs
from pmlive.cli.output import Output
from pmlive.settings import SECRET_NAMES, Variables

__all__ = ["Manner", "shown"]

# A simulated venue in this process says each connection's beginning and end, which is the demo's own business.
# Updates of the MCP server appear where a client asked for the log.
_LEVELS = {
    "pmlive": logging.WARNING,
    "pmlive.mcp.updates": logging.INFO,
    "mcp": logging.WARNING,
    "websockets.server": logging.WARNING,
    "asyncio": logging.ERROR,
}
# Shorter values are words that a message may hold for other reasons.
_SECRET_FROM = 6


Manner: TypeAlias = Literal["asked", "always"]


@contextmanager
def shown(out: Output, *, verbose: bool, tracebacks: Manner = "asked") -> Generator[None]:
    """Show the log and Python's warnings in this block, one plain line each.

    Args:
        out: where to.
        verbose: show what happens as well, and where what failed did.
        tracebacks: ``always`` shows where also without ``verbose``, for a program that nobody runs again with ``-v``.
    """
    handler = _Handler(out, tracebacks=verbose or tracebacks == "always")
    levels = _LEVELS | ({"pmlive": logging.INFO} if verbose else {})
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in levels}
    for name, level in levels.items():
        _direct(logging.getLogger(name), handler, level)
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = handler.unraisable, handler.unguarded
    try:
        with warnings.catch_warnings():
            warnings.showwarning = handler.warned
            handler.secrets = _secrets()
            yield
    finally:
        logs.flush()
        sys.unraisablehook, threading.excepthook = hooks
        for name, (level, propagate) in before.items():
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).propagate = propagate


def _direct(logger: logging.Logger, handler: logging.Handler, level: int) -> None:
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


class _Handler(logging.Handler):
    def __init__(self, out: Output, *, tracebacks: bool) -> None:
        super().__init__()
        self.secrets: list[str] = []
        self._out = out
        self._tracebacks = tracebacks

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record without the lock of a handler, which the log's thread would hold while it writes."""
        self.emit(record)
        return True

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

    def unraisable(self, failed: "sys.UnraisableHookArgs") -> None:
        """Show what failed where nobody could be told, such as in a finalizer."""
        self.line("warning", f"{failed.err_msg or 'ignored'}: {failed.exc_value!r}")

    def unguarded(self, failed: threading.ExceptHookArgs) -> None:
        """Show what ended a thread that is not ours."""
        name = "?" if failed.thread is None else failed.thread.name
        self.line("error", f"the thread {name!r} ended: {failed.exc_value!r}")

    def line(self, level: str, text: str) -> None:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        self._out.note(f"pmlive: {level}: {text}")


def _secrets() -> list[str]:
    """List what must never be shown; the library keeps it out of its log, and this keeps it out of the terminal."""
    given = Variables.read()
    return [given[name] for name in SECRET_NAMES if name in given and len(given[name]) >= _SECRET_FROM]
