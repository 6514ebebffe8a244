"""Lines of the log: they reach Python's logging, and whoever says them neither waits nor fails."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
from support.waiting import wait_until

from pmlive import logs

_PATIENCE = 20.0


class Handling(logging.Handler):
    """A handler of the host's that does what it is told to."""

    def __init__(self, work: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self._work = work

    def emit(self, record: logging.LogRecord) -> None:
        self._work(record)


@contextmanager
def handled(name: str, work: Callable[[logging.LogRecord], object]) -> Generator[logging.Logger]:
    logger = logs.get_logger(name)
    handler = Handling(work)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield logger
    finally:
        logger.removeHandler(handler)


def test_lines_come_in_order_with_the_thread_and_the_place_that_said_them(caplog: pytest.LogCaptureFixture) -> None:
    logger = logs.get_logger("pmlive.a_test")
    changing = ["before"]

    logger.warning("one %s", changing)
    changing[0] = "after"
    try:
        {}["of the test"]
    except KeyError:
        logger.exception("two")

    one, two = caplog.records
    assert (one.getMessage(), one.threadName, one.filename) == ("one ['before']", "MainThread", "test_logs.py")
    assert two.exc_info is not None
    assert two.exc_info[0] is KeyError


def test_levels_and_filters_of_the_host_hold(caplog: pytest.LogCaptureFixture) -> None:
    logger = logs.get_logger("pmlive.another_test")
    logger.addFilter(lambda record: "secret" not in record.getMessage())

    logger.debug("too low")
    logger.warning("secret")
    logger.warning("seen")

    assert [record.getMessage() for record in caplog.records] == ["seen"]


def test_a_line_that_cannot_be_formatted_is_told_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    logs.get_logger("pmlive.a_test").warning("%d lines", "no")

    assert "cannot be formatted" in caplog.text


@pytest.mark.parametrize("error", [OSError(28, "full"), BrokenPipeError(), ValueError("closed"), MemoryError()])
def test_a_handler_that_fails_costs_its_line(error: Exception) -> None:
    def fail(_: logging.LogRecord) -> None:
        raise error

    before = logs.lost()
    with handled("pmlive.failing", fail) as logger:
        logger.warning("nobody will see this")
        assert logs.flush(_PATIENCE)

    assert logs.lost() == before + 1


def test_a_handler_that_hangs_holds_nobody_up_and_what_is_lost_is_told() -> None:
    free, hanging = threading.Event(), threading.Event()
    said: list[str] = []

    def hang(record: logging.LogRecord) -> None:
        said.append(record.getMessage())
        hanging.set()
        free.wait(_PATIENCE)

    before = logs.lost()
    with handled("pmlive.hanging", hang) as logger:
        logger.warning("line 0")
        assert hanging.wait(_PATIENCE)
        for number in range(1, 1_500):
            logger.warning("line %d", number)
        assert not logs.flush(0.01)
        lost = logs.lost() - before
        free.set()
        wait_until(lambda: logs.flush(_PATIENCE), _PATIENCE)

    assert lost == 499
    assert said == [f"line {number}" for number in range(1_001)]


def in_a_program(text: str, *, stderr: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", text],
        check=False,
        text=True,
        timeout=60,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


DEAD = """
import logging, os, sys
reading, writing = os.pipe()
os.close(reading)
os.dup2(writing, 2)
{setup}
from pmlive import logs
logger = logs.get_logger("pmlive.a_test")
for _ in range(100):
    logger.warning("nobody reads this")
logs.flush(20)
print("lost", logs.lost())
"""


@pytest.mark.parametrize("setup", ["", "logging.basicConfig()"])
def test_a_script_whose_error_stream_has_no_reader_ends_as_it_would(setup: str) -> None:
    done = in_a_program(DEAD.format(setup=setup), stderr=subprocess.DEVNULL)

    assert "lost" in done.stdout
    # A handler of the host's swallows its own failures; without any, they are counted.
    assert setup or "lost 100" in done.stdout
    assert done.returncode == 0


def test_a_forked_child_logs_though_its_parent_hangs() -> None:
    program = """
import logging, os, threading
from pmlive import logs
free, hanging = threading.Event(), threading.Event()
class Hanging(logging.Handler):
    def emit(self, record):
        if os.getpid() == parent:
            hanging.set()
            free.wait(30)
        else:
            os.write(1, record.getMessage().encode())
parent = os.getpid()
logger = logs.get_logger("pmlive.a_test")
handler = Hanging()
logger.addHandler(handler)
logger.warning("of the parent")
hanging.wait(30)
child = os.fork()
if not child:
    logger.warning("of the child")
    os._exit(0 if logs.flush(30) else 1)
code = os.waitpid(child, 0)[1]
free.set()
raise SystemExit(code)
"""
    done = in_a_program(program, stderr=subprocess.PIPE)

    assert (done.returncode, done.stdout) == (0, "of the child"), done.stderr


def test_a_line_is_queued_once_however_slowly_the_thread_starts() -> None:
    program = """
import logging, threading, time
from pmlive import logs
start = threading.Thread.start
def slowly(thread):
    start(thread)
    time.sleep(0.2)
threading.Thread.start = slowly
passed = []
logging.getLogger("pmlive.a_test").addFilter(lambda record: passed.append(record.getMessage()) or True)
logger = logs.get_logger("pmlive.a_test")
logger.addHandler(logging.NullHandler())
logger.warning("first")
logger.warning("second")
print(logs.flush(30), sorted(passed), logs.lost())
"""
    done = in_a_program(program, stderr=subprocess.PIPE)

    # Once where it is logged, and once in the thread that writes it.
    assert done.stdout == "True ['first', 'first', 'second', 'second'] 0\n", done.stderr


def test_importing_the_package_starts_no_thread() -> None:
    program = "import threading, pmlive, pmlive.manager; print(threading.active_count())"

    assert in_a_program(program, stderr=subprocess.PIPE).stdout.strip() == "1"
