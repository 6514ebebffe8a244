"""How what a manager holds is given back: by a name that is used again, by hand, and however a program ends."""

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from support.feed import QUICK
from support.live import address
from support.waiting import wait_until

import pmlive as pm
from pmlive.errors import UnknownMarketError
from pmlive.manager import Manager, Replay, lifecycle
from pmlive.sim import SimulatedVenue
from pmlive.store import records
from pmlive.store.disk import inject_faults
from pmlive.widgets import StatusPanel

if TYPE_CHECKING:
    from _typeshed import TraceFunction


@contextmanager
def venue() -> Generator[SimulatedVenue]:
    """Run a venue, and see that no thread of its clients is left."""
    with SimulatedVenue(markets=1, rate=200) as sim:
        before = set(threading.enumerate())
        yield sim
        wait_until(lambda: set(threading.enumerate()) <= before, what="that no thread is left")


def made(sim: SimulatedVenue) -> Manager:
    return Manager(address(sim), policy=QUICK)


def begin(live: Manager, sim: SimulatedVenue, folder: Path) -> None:
    live.record(folder)
    live.watch(sim.markets[0].slug)
    live.book(sim.markets[0].token_ids[0])


def recording(sim: SimulatedVenue, folder: Path) -> Manager:
    live = made(sim)
    begin(live, sim, folder)
    return live


def causes(folder: Path) -> list[str]:
    return [str(cause) for cause in pm.open_recording(folder).scan("gaps").collect()["cause"]]


def ends(folder: Path) -> list[str]:
    return [record.kind for record in records(folder) if record.kind in ("begin", "end")]


# --- nobody has it any more ---


def test_a_manager_that_nothing_refers_to_is_sealed_and_closed(tmp_path: Path) -> None:
    with venue() as sim:
        live = recording(sim, tmp_path / "night")

        del live

        wait_until(lambda: not sim.connections, what="that the venue has no client")
        wait_until(lambda: not pm.managers())
    assert ends(tmp_path / "night") == ["begin", "end"]
    assert pm.open_recording(tmp_path / "night").verify().ok


def test_a_refusal_keeps_no_manager_alive(tmp_path: Path) -> None:
    with venue() as sim:
        live = recording(sim, tmp_path / "night")
        gone = weakref.ref(live)
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(UnknownMarketError):
                live.book("nothing")
            del live
            assert gone() is None
        finally:
            gc.enable()


def test_a_cell_that_is_run_again_goes_on_with_its_recording(tmp_path: Path) -> None:
    with venue() as sim:
        for _ in range(3):
            live = made(sim)
            begin(live, sim, tmp_path / "night")

        assert len(pm.managers()) == 1
        pm.close_all()

    assert set(causes(tmp_path / "night")) == {"restart"}
    assert ends(tmp_path / "night") == ["begin", "end"] * 3
    assert pm.open_recording(tmp_path / "night").verify().ok


def test_a_manager_that_only_refers_to_itself_makes_way(tmp_path: Path) -> None:
    with venue() as sim:
        live = recording(sim, tmp_path / "night")
        live.at_close(live.status)

        live = made(sim)
        begin(live, sim, tmp_path / "night")

        assert pm.managers() == [live]
        live.close()


def test_a_replay_that_nothing_refers_to_is_closed() -> None:
    before = set(threading.enumerate())
    replay = Replay(pm.sample(), paused=True)
    assert replay.markets

    del replay

    wait_until(lambda: set(threading.enumerate()) <= before)


def test_what_shows_a_manager_keeps_it_until_it_is_closed() -> None:
    with venue() as sim:
        live = made(sim)
        dashboard, status = live.dashboard(), StatusPanel(live)
        del live
        assert len(pm.managers()) == 1
        assert dashboard.manager.status()["background_task"] == {"running": True, "task_exists": True}

        dashboard.close()
        assert pm.managers() == [status.manager]
        del dashboard
        status.close()
        del status

        # Widgets refer to their parts, and those to them.
        gc.collect()
        wait_until(lambda: not pm.managers())


# --- somebody has it still ---


def test_a_folder_of_another_manager_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with venue() as sim:
        first = recording(sim, tmp_path / "night")
        second = made(sim)
        with pytest.raises(pm.StoreError) as refused:
            second.record(tmp_path / "night")

        assert "is being recorded by another manager of this process, <Manager of ws://127.0.0.1:" in str(refused.value)
        assert "pm.close_all() closes them" in str(refused.value)
        assert set(pm.managers()) == {first, second}
        pm.close_all()
        assert pm.managers() == []
        assert not [thread.name for thread in threading.enumerate() if thread.name == "pmlive"]


def test_a_manager_that_is_told_to_record_again_goes_on(tmp_path: Path) -> None:
    with venue() as sim, recording(sim, tmp_path / "night") as live:
        assert live.record(tmp_path / "night") == live.record() == tmp_path / "night"

        with pytest.raises(ValueError, match=r"already recording into .*night; call stop_recording first"):
            live.record(tmp_path / "other")
        with pytest.raises(ValueError, match="already recording into"):
            live.record(tmp_path / "night", keep_raw=timedelta(days=1))
    assert ends(tmp_path / "night") == ["begin", "end"]
    assert causes(tmp_path / "night") == []


# --- Ctrl-C ---


@pytest.fixture
def heeded() -> Generator[None]:
    """Heed Ctrl-C also where the tests run in the background of a shell, which lets programs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    """Press Ctrl-C."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.mark.quick(5)
@pytest.mark.parametrize("line", range(60))
def test_wherever_a_closing_is_interrupted_the_next_one_ends_it(tmp_path: Path, line: int) -> None:
    """Also while the thread starts that closes."""
    files, left = {lifecycle.__file__, threading.__file__}, line

    def trace(frame: FrameType, event: str, _arg: object) -> "TraceFunction | None":
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    with venue() as sim:
        live = recording(sim, tmp_path / "night")
        sys.settrace(trace)
        with suppress(KeyboardInterrupt):
            live.close()
        sys.settrace(None)

        live.close()

        assert pm.managers() == []
    assert ends(tmp_path / "night") == ["begin", "end"]
    assert pm.open_recording(tmp_path / "night").verify().ok


@pytest.mark.usefixtures("heeded")
def test_a_closing_that_is_interrupted_goes_on(tmp_path: Path) -> None:
    pressed: list[str] = []

    def press(change: str) -> None:
        if change == "rename" and not pressed:
            pressed.append(change)
            interrupt()

    with venue() as sim:
        live = recording(sim, tmp_path / "night")
        with inject_faults(press), pytest.raises(KeyboardInterrupt):
            live.close()

        live.close()

        assert pressed == ["rename"]
    assert ends(tmp_path / "night") == ["begin", "end"]
    assert pm.open_recording(tmp_path / "night").verify().ok


@pytest.mark.usefixtures("heeded")
def test_a_recording_whose_beginning_is_interrupted_is_there_and_goes_on(tmp_path: Path) -> None:
    pressed: list[str] = []

    def press(change: str) -> None:
        if change == "make folder" and not pressed:
            pressed.append(change)
            interrupt()

    with venue() as sim, made(sim) as live:
        with inject_faults(press), pytest.raises(KeyboardInterrupt):
            live.record(tmp_path / "night")

        assert live.record(tmp_path / "night") == tmp_path / "night"
    assert ends(tmp_path / "night") == ["begin", "end"]


# --- the end of a program ---

PROGRAM = """
import os, signal, sys, time
import pmlive as pm

def run():
    live = pm.Manager(venue="sim")
    live.record(sys.argv[1])
    live.watch(live.sim.markets[0].slug)
    live.book(live.sim.markets[0].slug, "Yes")
    return live

live = run()
{rest}
"""

KILL = "os.kill(os.getpid(), signal.SIGTERM)\nwhile True: time.sleep(0.1)"
ENDINGS = {
    "by itself": ("", 0),
    "by sys.exit": ("sys.exit(3)", 3),
    "by an exception": ("raise ValueError('no')", 1),
    "by SIGTERM that it handles": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\nagain = pm.Manager()\n" + KILL,
        5,
    ),
    "by SIGTERM that it handles while it calls": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n" + KILL.replace("time.sleep(0.1)", "live.status()"),
        5,
    ),
}


@pytest.mark.quick(3)
@pytest.mark.parametrize("how", ENDINGS)
def test_a_recording_of_a_program_that_ends_is_sealed(how: str, tmp_path: Path) -> None:
    rest, code = ENDINGS[how]

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(rest=rest), str(tmp_path / "night")],
        capture_output=True,
        check=False,
        text=True,
        timeout=40,
        env=dict(os.environ),
    )

    assert done.returncode == code, done.stderr
    assert ends(tmp_path / "night") == ["begin", "end"]
    assert pm.open_recording(tmp_path / "night").verify().ok
    assert not list((tmp_path / "night" / "wal").iterdir())


def test_sigterm_that_nobody_handles_costs_no_more_than_a_kill(tmp_path: Path) -> None:
    """Python ends there without any last work; what reached the log is there, and the next start seals it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(rest=KILL), str(tmp_path / "night")],
        capture_output=True,
        check=False,
        text=True,
        timeout=40,
        env=dict(os.environ),
    )

    assert done.returncode == -signal.SIGTERM, done.stderr
    assert pm.open_recording(tmp_path / "night").verify().findings == []
    with pm.Manager(venue="sim") as live:
        live.record(tmp_path / "night")
    assert pm.open_recording(tmp_path / "night").verify().ok
    assert ends(tmp_path / "night") == ["begin", "begin", "end"]


def test_no_constructor_takes_a_signal(tmp_path: Path) -> None:
    numbers = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
    before = {number: signal.getsignal(number) for number in numbers}

    with pm.Manager(venue="sim") as live:
        live.record(tmp_path / "night")
        live.watch(live.sim.markets[0].slug if live.sim else "")
        assert {number: signal.getsignal(number) for number in numbers} == before

    assert {number: signal.getsignal(number) for number in numbers} == before


def test_a_forked_child_ends_and_leaves_its_parent_s_recording_alone(tmp_path: Path) -> None:
    rest = (
        "child = os.fork()\nif not child: sys.exit(0)\nassert os.waitpid(child, 0)[1] == 0\n"
        "child = os.fork()\nif not child:\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(30)\n"
        "assert os.waitpid(child, 0)[1] == signal.SIGTERM\nassert live.status()['recording']['lag'] < 10\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(rest=rest), str(tmp_path / "night")],
        capture_output=True,
        check=False,
        text=True,
        timeout=40,
        env=dict(os.environ),
    )

    assert done.returncode == 0, done.stderr
    assert ends(tmp_path / "night") == ["begin", "end"]
    assert pm.open_recording(tmp_path / "night").verify().ok
