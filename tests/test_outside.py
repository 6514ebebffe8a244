"""The marker ``io``: which tests get it, and what happens to one that reaches outside without it."""

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storing import rebuild

from pmlive.export import to_csv
from pmlive.store import Recorder
from tests.support.outside import guard, names_outside


def _plain() -> int:
    return len("nothing")


def _listens() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))


class _Helper:
    @property
    def listening(self) -> None:
        _listens()


@contextmanager
def _listening() -> Generator[_Helper]:
    yield _Helper()


@given(number=st.integers())
def _tries(number: int) -> None:
    with _listening():
        assert number


def _inside() -> list[object]:
    return [_listening() for _ in range(2)]


@pytest.mark.parametrize(
    "code", [_listens, _Helper, _listening, _tries, _inside, to_csv], ids=lambda code: code.__name__
)
def test_code_that_names_a_way_out_is_found_through_its_helpers(code: object) -> None:
    assert names_outside(code)


@pytest.mark.parametrize("code", [_plain, len, 7, pytest.raises], ids=["ours", "built in", "number", "of others"])
def test_code_that_names_none_is_left_alone(code: object) -> None:
    assert not names_outside(code)


def _in_a_thread() -> None:
    thread = threading.Thread(target=_listens)
    thread.start()
    thread.join(10.0)


def _records() -> None:
    with TemporaryDirectory() as folder:
        Recorder(Path(folder) / "night", rebuild=rebuild).close()


@pytest.mark.parametrize(
    ("reach", "event"), [(_listens, r"socket\.bind"), (_in_a_thread, r"socket\.bind"), (_records, "open")]
)
def test_reaching_outside_fails_where_nothing_may(reach: Callable[[], None], event: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=rf"may reach outside.*\n  {event}"), guard.watching():
        reach()


def test_staying_inside_is_fine_anywhere() -> None:
    with guard.watching():
        assert _plain()
