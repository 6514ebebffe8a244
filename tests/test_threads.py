"""Each thread of the package: whatever its work raises is told, and it goes on."""

import ast
import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

import msgspec
import polars as pl
import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]  # it has none
import pytest
from storing import NOON, feed, rebuild, record, stored
from support.live import living, subscribe, until_trusted
from support.waiting import until, wait_until

import pmlive as pm
from pmlive.manager.subscriptions import Consumer, Update
from pmlive.pipeline.journal import rebuild as rebuild_tables
from pmlive.sim import SimulatedVenue
from pmlive.store import Recorder, RecorderOptions
from pmlive.store.opening import open_folder
from pmlive.store.sealing import Sealer, Segment
from pmlive.threads import LoopThread, faults, repeating, single
from pmlive.widgets.controls import SerialExecutor

_PACKAGE = Path(pm.__file__).parent
_QUICK = RecorderOptions(commit=0.01, sync=0.01, retry=0.01)
_PATIENCE = 20.0

ERRORS: dict[str, BaseException] = {
    "a fault of ours": ValueError("of the test"),
    "no memory": MemoryError(),
    "a file that Arrow refuses": pa.ArrowInvalid("of the test"),  # pyright: ignore[reportUnknownMemberType]  # as above
    "a panic": pl.exceptions.PanicException("of the test"),
    "an exit": SystemExit(3),
}
Work: TypeAlias = Callable[[], object]
Way: TypeAlias = Callable[[BaseException, Path], None]


def raising(error: BaseException, times: int) -> tuple[Work, list[None]]:
    """Make what raises so often, and then does nothing; with a list of its calls."""
    calls: list[None] = []

    def work() -> None:
        calls.append(None)
        if len(calls) <= times:
            raise error

    return work, calls


def times_of(thread: str) -> int:
    return sum(fault.times for fault in faults() if fault.thread == thread)


def seal_beside(error: BaseException, folder: Path) -> None:
    """Merging raises, and what is given to be sealed meanwhile is sealed."""
    work, calls = raising(error, 2)
    opened = open_folder(folder, rebuild=rebuild, level=1, clock=lambda: NOON, step=lambda _: None)

    def lost(segment: Segment, detail: str) -> None:
        raise AssertionError(f"{detail} of {segment}")

    sealer = Sealer(opened.context, retry=0.01, lost=lost, upkeep=lambda: bool(work()))
    sealer.start()
    wait_until(lambda: sealer.upkeep_trouble.message, _PATIENCE)
    done = threading.Event()
    sealer.submit_task(done.set)
    assert done.wait(_PATIENCE)
    assert len(calls) == 1
    assert "merging" in str(sealer.upkeep_trouble.message)
    sealer.close(1.0)
    opened.lock.release()


def seal_again(error: BaseException, folder: Path) -> None:
    """Sealing raises, and is tried until it works."""
    work, _ = raising(error, 1)

    def step(name: str) -> None:
        if name == "before the manifest":
            work()

    with_step = Recorder(folder, rebuild=rebuild, options=_QUICK, clock=lambda: NOON, step=step)
    feed(with_step, range(1, 50))
    with_step.cut([record(50, kind="state")])
    wait_until(lambda: with_step.status().segments == 1, _PATIENCE)
    wait_until(lambda: with_step.status().trouble is None, _PATIENCE)
    with_step.close()
    assert stored(folder) == [*range(1, 50)]


def write_again(error: BaseException, folder: Path) -> None:
    """Writing the log raises, and is tried until it works; nothing is lost."""
    work, calls = raising(error, 2)

    def clock() -> int:
        if threading.current_thread().name == "pmlive-log":
            work()
        return NOON

    recorder = Recorder(folder, rebuild=rebuild, options=_QUICK, clock=clock)
    feed(recorder, range(1, 50))
    assert recorder.flush(_PATIENCE)
    assert len(calls) > 2
    recorder.close()
    assert stored(folder) == [*range(1, 50)]


def run_on(error: BaseException, folder: Path) -> None:
    """Something in the loop of the feed raises, and the loop is there for the next."""
    del folder
    thread = LoopThread("pmlive", "manager")
    thread.call(lambda: None)
    assert thread.running
    loop = thread.call(asyncio.get_running_loop)
    loop.call_soon_threadsafe(raising(error, 1)[0])
    assert thread.call(lambda: 7) == 7

    async def last() -> None:
        pass

    thread.stop(last)
    assert not thread.running


def consume_on(error: BaseException, folder: Path) -> None:
    """A handler of the user's raises, and is given the next update."""
    del folder
    seen: list[Update] = []

    def handler(update: Update) -> None:
        seen.append(update)
        if len(seen) == 1:
            raise error

    consumer = Consumer(handler)
    consumer.mailbox.put({"n": 1})
    consumer.mailbox.put({"n": 2})
    wait_until(lambda: len(seen) == 2, _PATIENCE)
    consumer.mailbox.close()


def run_next_task(error: BaseException, folder: Path) -> None:
    """What a button asks for raises, and the next is done."""
    del folder
    done = threading.Event()
    executor = SerialExecutor(lambda _: None)
    executor.submit(raising(error, 1)[0])
    executor.submit(done.set)
    assert done.wait(_PATIENCE)


THREADS: dict[Way, str] = {
    seal_beside: "pmlive-seal",
    seal_again: "pmlive-seal",
    write_again: "pmlive-log",
    run_on: "pmlive",
    consume_on: "pmlive consumer",
    run_next_task: "pmlive controls",
}


def told_elsewhere(way: object, error: BaseException) -> bool:
    """A loop logs by itself what does not end it, and a button shows what its user can mend."""
    if way is run_on:
        return not isinstance(error, SystemExit)
    return way is run_next_task and isinstance(error, ValueError)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("way", THREADS, ids=lambda way: way.__name__)
def test_what_a_thread_raises_is_told_and_it_goes_on(way: Way, error: str, tmp_path: Path) -> None:
    before = times_of(THREADS[way])

    way(ERRORS[error], tmp_path / "night")

    assert times_of(THREADS[way]) > before or told_elsewhere(way, ERRORS[error])


def test_a_turn_that_raises_is_followed_by_the_next() -> None:
    work, calls = raising(ValueError("of the test"), 3)

    def turn() -> bool:
        work()
        return len(calls) < 6

    thread = repeating("a test's", turn, pause=0.001)
    thread.start()
    thread.join(_PATIENCE)

    assert len(calls) == 6
    assert times_of("a test's") == 3


def test_a_thread_that_cannot_go_on_ends_and_is_told() -> None:
    thread = single("another test's", raising(MemoryError(), 1)[0])
    thread.start()
    thread.join(_PATIENCE)

    (fault,) = [fault for fault in faults() if fault.thread == "another test's"]
    assert (fault.error, fault.times) == ("MemoryError()", 1)
    with pm.Manager(venue="sim") as live:
        assert msgspec.to_builtins(fault) in cast("list[object]", live.status()["trouble"])


def test_a_clockwork_that_fails_loses_no_rows_of_the_recording(tmp_path: Path) -> None:
    before = times_of("pmlive")
    work, calls = raising(ValueError("in a turn"), 3)

    def in_turn(_: object) -> None:
        work()

    async def watch() -> None:
        async with living(sim) as live:
            live.ingest.record(Recorder(tmp_path / "night", rebuild=rebuild_tables))
            subscribe(live, sim.markets[0].token_ids)
            await until_trusted(live, 2)
            live.ingest.on_rows = in_turn
            live.ingest.listened = lambda: True
            await until(lambda: len(calls) > 5, _PATIENCE)
            recorder = live.ingest.end_recording()
        assert recorder is not None
        recorder.close()

    with SimulatedVenue(markets=1, rate=200) as sim:
        asyncio.run(watch())

    assert times_of("pmlive") >= before + 3
    night = pm.open_recording(tmp_path / "night")
    assert night.verify().ok
    assert night.scan("book_deltas").collect().height > 0


def test_every_thread_is_made_where_the_guard_is() -> None:
    makers = {
        str(path.relative_to(_PACKAGE))
        for path in _PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) == "Thread" or getattr(node.func, "id", None) == "Thread")
    }

    assert makers == {"logs.py", "threads.py"}
