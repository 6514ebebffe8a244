"""What a widget says to its views and when, with an invented clock."""

import numpy as np
import pytest
from support.page import Follower

from pmlive.widgets.canvas import Channel, Message, pack
from pmlive.widgets.views import View


def view(*times: float, label: str = "A", shaded: float = 0.0) -> View:
    return {"label": label, "times": np.array(times), "gaps": np.array([shaded])}


def opened(*, every: float = 0.1) -> tuple[Channel, Follower]:
    channel = Channel(["times"], every=every)
    message, buffer = channel.whole(view(1.0), 0.0)
    return channel, Follower({**message, "buffer": buffer})


def take(follower: Follower, said: tuple[Message, bytes] | None) -> None:
    assert said is not None
    follower.take(*said)


def test_arrays_that_grow_are_added_to_and_the_others_replaced() -> None:
    channel, follower = opened()

    take(follower, channel.append(view(2.0, 3.0, shaded=5.0), 0.1))
    take(follower, channel.append(view(label="B", shaded=6.0), 0.2))

    assert follower.arrays == {"times": [1.0, 2.0, 3.0], "gaps": [6.0]}
    assert follower.values == {"label": "B"}
    assert follower.missed == 0


def test_nothing_is_said_when_nothing_changed() -> None:
    channel, _ = opened()

    assert channel.append(view(), 0.1) is None
    assert channel.append(view(shaded=1.0), 0.2) is not None
    assert channel.append(view(shaded=1.0), 0.3) is None


def test_a_view_that_missed_a_message_gets_everything() -> None:
    channel, follower = opened()
    channel.append(view(2.0), 0.1)
    take(follower, channel.append(view(3.0), 0.2))
    assert follower.missed == 1

    channel.receive({"kind": "look", "view": "a"}, 0.3)

    assert channel.due(0.3)
    assert channel.take_request(0.3)
    take(follower, channel.whole(view(1.0, 2.0, 3.0), 0.3))
    take(follower, channel.append(view(4.0), 0.4))
    assert follower.arrays["times"] == [1.0, 2.0, 3.0, 4.0]


def test_a_wish_that_comes_while_one_is_fulfilled_is_not_lost() -> None:
    channel, _ = opened()
    channel.receive({"kind": "here", "view": "a"}, 0.0)
    channel.request_whole()
    assert channel.take_request(0.1)

    channel.request_whole()
    channel.whole(view(1.0), 0.1)

    assert channel.take_request(0.2)
    assert not channel.take_request(0.3)


def test_messages_keep_their_distance() -> None:
    channel, _ = opened(every=0.1)

    assert not channel.due(0.05)
    assert channel.due(0.1)
    channel.append(view(), 0.1)
    assert not channel.due(0.15)


def test_nothing_is_due_while_nobody_looks() -> None:
    channel, _ = opened()
    channel.receive({"kind": "visible", "view": "a", "visible": True}, 0.0)
    channel.receive({"kind": "visible", "view": "b", "visible": False}, 0.0)
    assert channel.due(1.0)

    channel.receive({"kind": "visible", "view": "a", "visible": False}, 1.0)
    assert not channel.due(2.0)

    channel.receive({"kind": "visible", "view": "b", "visible": True}, 2.0)
    assert channel.due(2.0)


def test_a_browser_that_lags_is_given_less_until_it_has_caught_up() -> None:
    channel, _ = opened(every=0.1)

    channel.receive({"kind": "seen", "view": "a", "number": 5, "lag": 1.5}, 3.0)
    assert channel.every == 0.2
    for _ in range(10):
        channel.receive({"kind": "seen", "view": "a", "number": 6, "lag": 1.5}, 3.0)
    assert channel.every == 2.0

    for _ in range(10):
        channel.receive({"kind": "seen", "view": "a", "number": 31, "lag": 0.02}, 3.1)
    assert channel.every == 0.1


def test_a_view_that_shows_more_than_it_is_sent_is_sent_everything_as_long_as_it_is_there() -> None:
    channel, _ = opened()
    for view_id, seconds in (("a", 300), ("b", 3600.0)):
        channel.receive({"kind": "reach", "view": view_id, "seconds": seconds}, 1.0)
        assert channel.take_request(1.0)
    channel.receive({"kind": "here", "view": "a"}, 80.0)
    assert channel.reach == 3600

    channel.note_free(70.0)
    assert channel.reach == 300

    channel.receive({"kind": "reach", "view": "a", "seconds": 0}, 81.0)
    assert channel.reach == 0


def test_a_page_that_says_nothing_to_a_kernel_that_listens_is_gone() -> None:
    """What is sent to nobody would be kept by the notebook's server."""
    channel, _ = opened()
    channel.receive({"kind": "visible", "view": "a", "visible": True}, 0.0)
    channel.receive({"kind": "here", "view": "a"}, 50.0)

    assert channel.due(10_000.0)
    channel.note_free(100.0)
    assert channel.due(100.0)
    channel.note_free(111.0)
    assert not channel.due(111.0)

    channel.receive({"kind": "here", "view": "a"}, 200.0)
    assert channel.due(200.0)


def test_a_widget_that_no_page_has_shown_is_not_sent_for_long() -> None:
    channel, _ = opened()

    channel.note_free(59.0)
    assert channel.due(59.0)
    channel.note_free(61.0)
    assert not channel.due(61.0)


def test_the_last_number_is_said_again_when_nothing_more_comes() -> None:
    channel, _ = opened()
    channel.append(view(2.0), 1.0)

    said = [second for second in range(200) if channel.remind(float(second)) == 2]

    assert said == [3, 7, 15, 31, 63, 123, 183]
    channel.append(view(3.0), 200.0)
    assert channel.remind(201.9) is None
    assert channel.remind(202.0) == 3


def test_what_does_not_grow_is_whole_each_time_and_misses_nothing() -> None:
    channel = Channel()
    message, buffer = channel.whole({"sizes": np.array([1.0])}, 0.0)
    follower = Follower({**message, "buffer": buffer})

    channel.append({"sizes": np.array([2.0])}, 0.1)
    assert channel.append({"sizes": np.array([2.0])}, 0.2) is None
    take(follower, channel.append({"sizes": np.array([3.0])}, 0.3))

    assert follower.arrays == {"sizes": [3.0]}
    assert follower.missed == 0


def test_silence_is_no_reason_to_stop_but_everything_is_said_again() -> None:
    """A kernel that runs a cell hears no view; one that came late has missed what was sent before."""
    channel, _ = opened()

    said: list[float] = []
    for tenth in range(200):
        if channel.take_request(tenth / 10):
            channel.whole(view(1.0), tenth / 10)
            said.append(tenth / 10)
    assert said == [0.5, 1.5, 3.5, 7.5, 12.5, 17.5]
    channel.receive({"kind": "here", "view": "a"}, 20.0)
    assert not channel.take_request(60.0)
    assert channel.due(61.0)


@pytest.mark.parametrize(
    "content",
    [{}, {"kind": "dance"}, {"kind": "seen", "number": "five"}, {"kind": "visible", "view": 3}, {"kind": "reach"}],
)
def test_what_is_no_message_is_ignored(content: dict[str, object]) -> None:
    channel, _ = opened()

    channel.receive(content, 0.0)

    assert channel.watched
    assert channel.every == 0.1


def test_a_view_is_packed_into_values_and_one_buffer() -> None:
    packed = pack({"label": "A", "times": np.array([1.0, 2.0]), "prices": np.array([[1.0, np.nan]])})

    assert packed["values"] == {"label": "A"}
    assert packed["arrays"] == [("times", 2, 1), ("prices", 1, 2)]
    assert len(packed["buffer"]) == 4 * 8


def test_an_array_without_rows_keeps_its_columns() -> None:
    assert pack({"prices": np.empty((0, 20))})["arrays"] == [("prices", 0, 20)]
