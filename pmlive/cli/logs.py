"""The library's log on the standard error: warnings, and with ``-v`` what happens as well."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from pmlive.cli.output import Output
from pmlive.settings import SECRET_NAMES, Variables

__all__ = ["shown"]

# A simulated venue in this process says each connection's beginning and end, which is the demo's own business.
_LEVELS = {"pmlive": logging.WARNING, "websockets.server": logging.WARNING, "asyncio": logging.ERROR}
# Shorter values are words that a message may hold for other reasons.
_SECRET_FROM = 6


@contextmanager
def shown(out: Output, *, verbose: bool) -> Generator[None]:
    """Show the log and Python's warnings in this block, one plain line each."""
    handler = _Handler(out, verbose=verbose)
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
        for name, (level, propagate) in before.items():
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).propagate = propagate


def _direct(logger: logging.Logger, handler: logging.Handler, level: int) -> None:
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


class _Handler(logging.Handler):
    def __init__(self, out: Output, *, verbose: bool) -> None:
        super().__init__()
        self.secrets: list[str] = []
        self._out = out
        self._verbose = verbose

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info is not None and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
            if self._verbose:
                text += f"\n{logging.Formatter().formatException(record.exc_info)}"
        self.line(record.levelname.lower(), text)

    def warned(self, message: Warning | str, *_: object) -> None:
        """Show one of Python's own warnings."""
        self.line("warning", str(message))

    def line(self, level: str, text: str) -> None:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        self._out.note(f"pmlive: {level}: {text}")


def _secrets() -> list[str]:
    """List what must never be shown; the library keeps it out of its log, and this keeps it out of the terminal."""
    given = Variables.read()
    return [given[name] for name in SECRET_NAMES if name in given and len(given[name]) >= _SECRET_FROM]
