"""What many ask for at once is done once, and never before it was asked for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.waiting import wait_until

from pmlive.mcp.realtime import SingleFlight


def test_all_who_ask_while_a_call_is_made_get_the_next_one() -> None:
    begun, go_on, made = threading.Event(), threading.Event(), list[int]()

    def count() -> int:
        made.append(len(made) + 1)
        number = made[-1]
        begun.set()
        go_on.wait(10)
        return number

    shared = SingleFlight(count)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(shared)
        assert begun.wait(10)
        later = [threads.submit(shared) for _ in range(8)]
        wait_until(lambda: all(one.running() for one in later))
        go_on.set()

        assert first.result() == 1
        # One that was not there in time makes a call of its own.
        assert {one.result() for one in later} <= {2, 3}
    assert shared() == len(made)


def test_an_answer_is_not_older_than_its_question() -> None:
    truth = [0]
    shared = SingleFlight(lambda: truth[0])

    def ask_after_a_change() -> None:
        for _ in range(200):
            truth[0] += 1
            least = truth[0]
            assert shared() >= least

    with ThreadPoolExecutor(4) as threads:
        for asking in [threads.submit(ask_after_a_change) for _ in range(4)]:
            asking.result()


def test_what_is_raised_is_raised_to_all_and_the_next_call_is_made() -> None:
    answers = iter([ValueError("of the test")])

    def fail_once() -> str:
        for error in answers:
            raise error
        return "well"

    shared = SingleFlight(fail_once)
    with pytest.raises(ValueError, match="of the test"):
        shared()
    assert shared() == "well"
