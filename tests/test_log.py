"""Loggers whose handlers may fail."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from pmlive.log import Log


class Broken(logging.Handler):
    """A handler as a dead terminal makes it."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError(5, f"cannot write {record.getMessage()}")


@contextmanager
def broken(name: str) -> Generator[None]:
    handler = Broken()
    logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger(name).removeHandler(handler)


def test_a_handler_that_raises_does_not_stop_who_writes() -> None:
    logger = Log("pmlive.test")

    with broken("pmlive.test"):
        logger.warning("one %d", 1)
        trouble = logger.trouble
    logger.warning("two")

    assert trouble is not None
    assert "cannot write one 1" in trouble
    assert logger.trouble is None


def test_lines_are_written_with_their_error_and_place(caplog: pytest.LogCaptureFixture) -> None:
    logger = Log("pmlive.test")

    logger.error("it %s", "failed", exc_info=KeyError("why"))

    (record,) = caplog.records
    assert record.getMessage() == "it failed"
    assert record.exc_info is not None
    assert record.filename == "test_log.py"
    assert record.name == "pmlive.test"
