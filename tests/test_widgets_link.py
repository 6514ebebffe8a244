"""How a view in the browser follows its widget: the script itself, run by Node, against the kernel's side."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.page import Follower
from support.page import said as words

from pmlive.widgets.canvas import Channel, Message
from pmlive.widgets.views import View

CAPACITY = 5


class Step(NamedTuple):
    """Rows that come, what else is shown, and whether the message of it arrives."""

    rows: int
    label: str
    arrives: bool


def said(channel: Channel, view: View, now: float, *, whole: bool) -> tuple[Message, bytes] | None:
    return channel.whole(view, now) if whole else channel.append(view, now)


def view(times: list[float], label: str) -> View:
    matrix = np.array([[time, -time] for time in times]).reshape(-1, 2)
    return {"label": label, "times": np.array(times), "ladders": matrix, "shaded": np.array([float(len(label))])}


steps = st.lists(st.builds(Step, st.integers(0, 7), st.sampled_from(["A", "Bee"]), st.booleans()), max_size=12)


@examples(150)
@given(steps)
def test_whatever_is_lost_a_view_has_what_the_kernel_has_once_it_is_quiet(steps: list[Step]) -> None:
    channel = Channel(["times", "ladders"], capacity=CAPACITY)
    there: list[float] = [0.0]
    message, buffer = channel.whole(view(there, "A"), 0.0)
    follower = Follower({**message, "buffer": buffer})
    channel.receive({"kind": "here", "view": "a"}, 0.0)
    label = "A"

    for at, step in enumerate(steps, 1):
        new, label = [float(len(there) + row) for row in range(step.rows)], step.label
        there += new
        whole = channel.take_request(float(at))
        told = said(channel, view(there if whole else new, label), float(at), whole=whole)
        if told is not None and step.arrives:
            follower.take(*told)
        if follower.behind:
            channel.receive({"kind": "look", "view": "a"}, float(at))

    quiet = 100.0
    follower.take({"kind": "at", "number": channel.remind(quiet)})
    if follower.behind:
        follower.take(*channel.whole(view(there, label), quiet))

    assert follower.number == channel.number
    assert follower.values == {"label": label}
    kept = there[-CAPACITY:]
    assert follower.arrays["times"] == kept
    assert follower.arrays["ladders"] == [number for time in kept for number in (time, -time)]
    assert follower.arrays["shaded"] == [float(len(label))]


def test_many_rows_are_kept_in_order_and_no_more_than_fit() -> None:
    channel = Channel(["times"], capacity=3000)
    message, buffer = channel.whole({"times": np.empty(0)}, 0.0)
    follower = Follower({**message, "buffer": buffer})

    for at in range(40):
        follower.take(*(channel.append({"times": np.arange(250.0) + 250 * at}, float(at)) or pytest.fail("no message")))

    assert follower.arrays["times"] == list(np.arange(7000.0, 10000.0))


def test_a_view_that_missed_messages_asks_once() -> None:
    channel = Channel(["times"])
    message, buffer = channel.whole({"times": np.array([1.0])}, 0.0)
    follower = Follower({**message, "buffer": buffer})
    channel.append({"times": np.array([2.0])}, 1.0)

    for at in range(3):
        follower.take(*(channel.append({"times": np.array([3.0 + at])}, 2.0 + at) or pytest.fail("nothing said")))

    assert follower.missed == 1
    assert follower.arrays["times"] == [1.0]


def test_a_problem_is_shown_until_something_is_drawn_again() -> None:
    channel = Channel(["times"])
    message, buffer = channel.whole({"times": np.array([1.0])}, 0.0)
    follower = Follower({**message, "buffer": buffer})

    follower.take({"kind": "problem", "text": "it could not be drawn"})
    assert follower.problem == "it could not be drawn"
    assert follower.arrays["times"] == [1.0]

    follower.take(*channel.whole({"times": np.array([1.0, 2.0])}, 1.0))
    assert follower.problem == ""


def test_a_view_speaks_seldom_but_often_while_it_is_late_and_for_a_while_after() -> None:
    late = range(12, 14)

    told = words([(2.0 if now in late else 0.1, float(now)) for now in range(40)])

    assert told == [0.0, 10.0, *map(float, range(12, 23)), 32.0]
