"""What a reader has still to be told, with times that the tests invent."""

from hypothesis import given
from hypothesis import strategies as st
from support.toy import STATUS, change

from pmlive.mcp.events import ResourceChange
from pmlive.mcp.notifications import Notice, Outbox, Update

BOOK = "polymarket://book/t1"


def everything(change: ResourceChange) -> bool:
    return bool(change.update)


def nothing(change: ResourceChange) -> bool:
    return not change


def taken(outbox: Outbox, now: float) -> list[Notice]:
    return list(outbox.take(now))


def numbers(told: list[Notice]) -> list[object]:
    return [(each.change.update or {})["number"] for each in told if isinstance(each, Update)]


def test_a_change_is_told_at_once_when_nothing_was_told_for_a_while() -> None:
    outbox = Outbox(None, everything)

    assert outbox.put(change(1), now=10.0)
    told = taken(outbox, 10.0)

    assert told[0] == STATUS
    assert numbers(told) == [1]
    assert outbox.due_at() is None


def test_a_resource_is_told_twice_a_second_at_most() -> None:
    outbox = Outbox(None, nothing)

    times: list[float] = []
    for tenth in range(21):
        outbox.put(change(tenth), now=tenth / 10)
        times += [tenth / 10 for _ in taken(outbox, tenth / 10)]

    assert times == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_the_last_change_is_never_left_untold() -> None:
    outbox = Outbox(None, nothing)
    outbox.put(change(1), now=0.0)
    taken(outbox, 0.0)

    outbox.put(change(2), now=0.1)

    assert taken(outbox, 0.4) == []
    assert outbox.due_at() == 0.5
    assert taken(outbox, 0.5) == [STATUS]


def test_what_is_urgent_is_told_at_once_with_all_that_waits() -> None:
    outbox = Outbox(None, everything)
    outbox.put(change(1), now=0.0)
    taken(outbox, 0.0)
    outbox.put(change(2), now=0.1)

    sooner = outbox.put(change(3, urgent=True), now=0.2)

    assert sooner
    assert numbers(taken(outbox, 0.2)) == [2, 3]


def test_resources_have_paces_of_their_own() -> None:
    outbox = Outbox(None, nothing)
    outbox.put(change(1, STATUS), now=0.0)
    taken(outbox, 0.0)

    outbox.put(change(2, STATUS, BOOK), now=0.1)

    assert taken(outbox, 0.1) == [BOOK]


def test_only_what_is_watched_is_told() -> None:
    outbox = Outbox({BOOK}, nothing)
    outbox.put(change(1, STATUS, BOOK), now=0.0)

    assert taken(outbox, 0.0) == [BOOK]


def test_what_is_forgotten_is_not_told() -> None:
    outbox = Outbox({BOOK}, nothing)
    outbox.put(change(1, BOOK), now=0.0)
    outbox.forget(BOOK)

    assert outbox.due_at() is None
    assert taken(outbox, 1.0) == []


def test_of_prices_the_newest_is_enough_and_trades_are_told_one_by_one() -> None:
    outbox = Outbox((), everything)
    for number in range(4):
        outbox.put(change(number, table="prices" if number % 2 else "trades"), now=0.0)

    assert numbers(taken(outbox, 0.0)) == [0, 2, 3]


def test_a_reader_that_is_too_slow_is_told_how_much_it_missed() -> None:
    outbox = Outbox((), everything, most=3)
    for number in range(10):
        outbox.put(change(number), now=0.0)

    told = taken(outbox, 0.0)

    assert numbers(told) == [7, 8, 9]
    assert [each.missed for each in told if isinstance(each, Update)] == [7, 0, 0]


def test_a_change_without_an_event_is_of_resources_alone() -> None:
    outbox = Outbox(None, everything)
    outbox.put(ResourceChange(uris=(STATUS,), update=None, callback_type=None, urgent=False), now=0.0)

    assert taken(outbox, 0.0) == [STATUS]


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=40))
def test_nothing_waits_longer_than_half_a_second(steps: list[tuple[int, bool]]) -> None:
    outbox = Outbox(None, everything)
    now = 0.0
    for number, (hundredths, urgent) in enumerate(steps):
        now += hundredths / 100
        outbox.put(change(number, urgent=urgent), now)
        due = outbox.due_at()
        assert due is not None
        assert due <= now + 0.5 + 1e-9
        if urgent:
            assert due <= now
        taken(outbox, now)
