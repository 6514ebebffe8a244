"""The marker ``io``: set on tests that need a socket, a process, a kernel or a recording that is written.

A test has the marker when its code, a fixture of its, or a helper that they name, names one of what ``OUTSIDE`` lists;
and when it is a cell of a notebook. Names are enough, and nobody needs to set a marker by hand. What they overlook is
caught when only tests without the marker run: one that connects, listens, starts a process or locks a recording fails.
"""

import re
import sys
import threading
from collections.abc import Generator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from types import CodeType, FunctionType

import pytest

__all__ = ["OUTSIDE", "Guard", "guard", "names_outside"]

_TESTS = str(Path(__file__).parent.parent)

# Whoever names one of these reaches outside the process of the test.
OUTSIDE = frozenset({
    # Servers and clients, of others and of ours.
    "HTTPServer", "StdioServerParameters", "ThreadingHTTPServer", "create_server", "httpx", "open_connection", "serve",
    "socket", "start_server",
    "Catalogue", "FeedConnection", "HttpServer", "Live", "Manager", "Pool", "SimulatedVenue", "VenueServer", "probe",
    # Replays and what shows them, which have the threads of a manager.
    "Dashboard", "Replay",
    # Processes, kernels, and programs in a text.
    "NotebookClient", "Popen", "attempt", "attempt_all", "exec", "fork", "multiprocessing", "subprocess",
    # Recordings and exports that are written, and synced to the disk; commands, which do any of this.
    "Recorder", "Tape", "claimed", "compact", "import_capture", "locked_folder", "locked_recording", "main",
    "open_folder", "repair", "to_csv", "to_duckdb", "to_hftbacktest", "to_nautilus",
})  # fmt: skip

# What the interpreter calls it when code does so.
_EVENTS = frozenset({
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen",
    "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.sendto",
})  # fmt: skip

# Whoever writes a recording opens this file of it.
_LOCK = ".lock"

# These run when they are asked for by name only.
_APART = ("live", "slow", "browser")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that reach outside; leave out those that run only when ``-m`` names their marker."""
    apart = set(_APART) - _named_in_expression(config)
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in apart)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(map(id, left_out))
        items[:] = [item for item in items if id(item) not in gone]
    for item in items:
        if needs_outside(item):
            item.add_marker("io")


def _named_in_expression(config: pytest.Config) -> set[str]:
    return set(re.findall(r"\w+", config.option.markexpr))


def needs_outside(item: pytest.Item) -> bool:
    """Check whether a test names what is outside; a cell of a notebook needs a kernel."""
    if item.path.suffix == ".ipynb":
        return True
    if isinstance(item, pytest.DoctestItem):
        return any(OUTSIDE & set(re.findall(r"\w+", example.source)) for example in item.dtest.examples)
    return isinstance(item, pytest.Function) and any(map(names_outside, _code_of(item)))


def _code_of(item: pytest.Function) -> Iterator[object]:
    """List a test's function, its arguments and its fixtures, and all of its module where others made the function."""
    function = _function_in(item.obj)
    is_written = function is not None and _is_of_tests(function.__code__.co_filename)
    yield from [function] if is_written else vars(item.module).values()
    if hasattr(item, "callspec"):
        yield from item.callspec.params.values()
    for definitions in item._fixtureinfo.name2fixturedefs.values():  # noqa: SLF001  # pytest offers no other way
        yield from (definition.func for definition in definitions)


def names_outside(code: object) -> bool:
    """Check whether a function or class of the tests names what is outside, itself or in a helper that it names."""
    seen: set[int] = set()
    waiting = [code]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        names, helpers = _named_in(one)
        if names & OUTSIDE or getattr(one, "__name__", "") in OUTSIDE:
            return True
        waiting += helpers
    return False


def _named_in(value: object) -> tuple[AbstractSet[str], list[object]]:
    """List the names in a function or class of the tests, and what of the tests they stand for."""
    if isinstance(value, type):
        is_ours = _is_of_tests(getattr(sys.modules.get(value.__module__), "__file__", None))
        return set(), [*vars(value).values(), *value.__bases__] if is_ours else []
    function = _function_in(value)
    if function is None or not _is_of_tests(function.__code__.co_filename):
        return set(), []
    names = _names(function.__code__)
    return names, [function.__globals__[name] for name in names & function.__globals__.keys()]


def _function_in(value: object) -> FunctionType | None:
    """Return the function that a decorator, a method or an argument was made of."""
    for attribute in ("__func__", "fget", "func", "hypothesis", "inner_test", "__wrapped__"):
        value = getattr(value, attribute, value)
    return value if isinstance(value, FunctionType) else None


def _names(code: CodeType) -> set[str]:
    return {*code.co_names, *chain.from_iterable(_names(one) for one in code.co_consts if isinstance(one, CodeType))}


def _is_of_tests(file: str | None) -> bool:
    return file is not None and file.startswith(_TESTS)


class Guard:
    """Notes what reaches outside where nothing may."""

    def __init__(self) -> None:
        self._watches = False
        self._caught: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._watches and (event in _EVENTS or (event == "open" and arguments[0] == _LOCK)):
            self._caught.append(f"{event}{arguments!r} in the thread {threading.current_thread().name!r}"[:300])

    @contextmanager
    def watching(self) -> Generator[None]:
        """Fail the test if anything reaches outside meanwhile, in whichever thread."""
        self._caught, self._watches = [], True
        try:
            yield
        finally:
            self._watches = False
        if self._caught:
            listed = "\n  ".join(self._caught)
            pytest.fail(
                f"without the marker `io` nothing may reach outside, see {__name__}:\n  {listed}", pytrace=False
            )


guard = Guard()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Watch over the fixtures of a test."""
    with _watch(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watch over a test."""
    with _watch(item):
        return (yield)


def _watch(item: pytest.Item) -> AbstractContextManager[None]:
    """Watch where only such tests were asked for: else a thread of an earlier test may reach outside meanwhile."""
    is_asked_for = "io" in _named_in_expression(item.config)
    return guard.watching() if is_asked_for and item.get_closest_marker("io") is None else nullcontext()
