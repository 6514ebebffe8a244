"""A service runs in a loop of its own from start to stop, and what it fails at is raised or noted."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from support.waiting import wait_until

from pmlive.errors import FeedError
from pmlive.threads import LoopThread, Service, faults


async def serve(stopping: asyncio.Event, ready: Callable[[], None]) -> None:
    ready()
    await stopping.wait()


def test_work_is_done_in_the_loop_while_it_runs_and_here_otherwise() -> None:
    service = Service("test service")
    assert service.call(threading.get_ident) == threading.get_ident()

    service.start(serve)
    there = service.call(threading.get_ident)
    service.start(serve)
    assert service.call(threading.get_ident) == there != threading.get_ident()

    service.stop()
    service.stop()
    assert service.call(threading.get_ident) == threading.get_ident()
    assert "test service" not in {thread.name for thread in threading.enumerate()}


def test_a_service_can_be_started_again() -> None:
    service = Service("test service")
    for _ in range(2):
        service.start(serve)
        assert service.call(lambda: 7) == 7
        service.stop()


def test_what_it_raises_before_it_is_ready_is_raised_by_the_start() -> None:
    async def refuse(_: asyncio.Event, __: Callable[[], None]) -> None:
        async with asyncio.TaskGroup():
            raise OSError("the port is taken")

    service = Service("test service")

    with pytest.raises(OSError, match="the port is taken"):
        service.start(refuse)

    service.start(serve)
    service.stop()


def test_what_it_raises_later_is_noted_and_ends_the_wait() -> None:
    async def fail(_: asyncio.Event, ready: Callable[[], None]) -> None:
        ready()
        await asyncio.sleep(0.05)
        raise ValueError("it broke down")

    service = Service("test service that fails")
    service.start(fail)

    service.wait()

    wait_until(lambda: "ValueError('it broke down')" in {fault.error for fault in faults()})
    assert service.call(threading.get_ident) == threading.get_ident()
    service.stop()


def test_a_thread_that_was_stopped_takes_no_more_work() -> None:
    thread = LoopThread("test thread", "recorder")
    assert thread.call(lambda: 7) == 7
    thread.stop()

    with pytest.raises(FeedError, match="this recorder was closed; make another"):
        thread.call(lambda: 7)
