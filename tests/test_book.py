"""A book is what a dictionary of the last size at each price would be, sorted."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive.book import Book, price, size
from pmlive.errors import ProtocolError
from pmlive.events import BookSide, BookSnapshot, Level

Change: TypeAlias = tuple[BookSide, str, str]

sides = st.sampled_from(("bid", "ask"))
price_texts = st.integers(0, 1000).map(lambda thousandths: f"{thousandths / 1000:.3f}")
spellings = price_texts | price_texts.map(lambda text: text.rstrip("0") if text.rstrip("0")[-1:].isdigit() else text)
sizes = st.integers(0, 50_000_000).map(lambda hundredths: f"{hundredths / 100:.2f}") | st.just("0")
changes = st.tuples(sides, spellings, sizes)
levels = st.builds(Level, spellings, sizes)

# What a price may not be. A size may be above 1 as well.
_NO_NUMBERS = [
    "", " ", "NaN", "nan", "inf", "-inf", "Infinity", "-0.5", "+0.5", "-0", "1e-3", "5E-1", "0.5 ", " 0.5", "0_5",
    "0.5_0", "0,5", "0x1", ".", "0..5", "1.", "0.5\n", "\u00bd", "\u0660.\u0665", "1e400", "1" * 400, "0." + "1" * 400,
]  # fmt: skip


def snapshot(bids: Sequence[Level], asks: Sequence[Level]) -> BookSnapshot:
    sides = [msgspec.Raw(msgspec.json.encode(list(side))) for side in (bids, asks)]
    return BookSnapshot(token_id="1", market="0x1", timestamp=1, bids_json=sides[0], asks_json=sides[1])


def book_of(history: Sequence[Change]) -> Book:
    book = Book()
    for side, price_text, size_text in history:
        book.put(side, price_text, size_text)
    return book


def content(book: Book) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    return book.levels("bid"), book.levels("ask")


@given(st.lists(changes))
def test_a_book_equals_a_dict_of_the_last_size_at_each_price(history: list[Change]) -> None:
    model: dict[tuple[str, float], float] = {}
    for side, price_text, size_text in history:
        model[side, float(price_text)] = float(size_text)

    book = book_of(history)

    bids = {at: total for (side, at), total in model.items() if side == "bid" and total}
    asks = {at: total for (side, at), total in model.items() if side == "ask" and total}
    assert content(book) == (sorted(bids.items(), reverse=True), sorted(asks.items()))
    assert book.best_bid == max(bids, default=None)
    assert book.best_ask == min(asks, default=None)


@given(st.lists(changes, min_size=1))
def test_a_change_tells_whether_the_top_of_its_side_changed(history: list[Change]) -> None:
    book = book_of(history[:-1])
    side, price_text, size_text = history[-1]
    before = book.levels(side, 1)

    told = book.put(side, price_text, size_text)

    if book.levels(side, 1) != before:
        assert told
    elif told:
        assert before[0][0] == float(price_text)  # the best level was set to the size that it had


@given(st.lists(changes), st.lists(levels), st.lists(levels))
def test_a_snapshot_replaces_the_book_whatever_came_before(
    history: list[Change], bids: list[Level], asks: list[Level]
) -> None:
    book = book_of(history)
    fresh = Book()
    for level in bids:
        fresh.put("bid", level.price, level.size)
    for level in asks:
        fresh.put("ask", level.price, level.size)

    book.replace(snapshot(bids, asks))

    assert content(book) == content(fresh)
    book.replace(snapshot(bids, asks))
    assert content(book) == content(fresh)


@given(st.lists(changes), changes)
def test_a_change_that_comes_twice_counts_once(history: list[Change], change: Change) -> None:
    assert content(book_of([*history, change])) == content(book_of([*history, change, change]))


@given(st.lists(levels, unique_by=lambda level: float(level.price)))
def test_the_order_of_the_levels_in_a_snapshot_does_not_matter(some: list[Level]) -> None:
    book, other = Book(), Book()

    book.replace(snapshot(some, some))
    other.replace(snapshot(some[::-1], sorted(some, key=lambda level: level.price)))

    assert content(book) == content(other)


@given(st.lists(changes), st.integers(0, 10))
def test_levels_come_best_first_and_at_most_so_many(history: list[Change], depth: int) -> None:
    book = book_of(history)

    assert book.levels("bid", depth) == book.levels("bid")[:depth]
    assert book.levels("ask", depth) == book.levels("ask")[:depth]
    assert book.bids.prices() == sorted(book.bids.prices(), reverse=True)
    assert book.asks.prices() == sorted(book.asks.prices())
    assert all(total > 0 for _, total in book.levels("bid") + book.levels("ask"))


@given(st.lists(changes), st.lists(changes))
def test_differences_are_counted_the_same_from_both_sides(mine: list[Change], theirs: list[Change]) -> None:
    book, other = book_of(mine), book_of(theirs)
    expected = sum(len({at for at, _ in set(book.levels(side)) ^ set(other.levels(side))}) for side in ("bid", "ask"))

    assert book.differences(other) == other.differences(book) == expected
    assert book.differences(book) == 0


@given(st.lists(changes))
def test_the_text_of_a_level_is_the_text_that_set_it(history: list[Change]) -> None:
    book = Book()
    last: dict[float, str] = {}
    for _, price_text, size_text in history:
        book.put("bid", price_text, size_text)
        last[float(price_text)] = f'{{"price":"{price_text}","size":"{size_text}"}}'

        assert book.bids.to_json().decode() == f"[{','.join(last[at] for at in sorted(book.bids.prices()))}]"


@pytest.mark.parametrize("text", _NO_NUMBERS)
def test_what_is_no_plain_number_enters_no_book(text: str) -> None:
    book = book_of([("bid", "0.4", "10"), ("ask", "0.6", "20")])
    before = content(book)

    with pytest.raises(ProtocolError):
        book.put("bid", text, "1")
    with pytest.raises(ProtocolError):
        book.put("ask", text, "1")
    with pytest.raises(ProtocolError):
        book.put("bid", "0.5", text)
    with pytest.raises(ProtocolError):
        book.replace(snapshot([Level("0.3", "1"), Level(text, "1")], []))
    with pytest.raises(ProtocolError):
        book.replace(snapshot([Level("0.3", "1")], [Level("0.7", text)]))

    assert content(book) == before


@pytest.mark.parametrize("text", ["1.0001", "2", "1000000"])
def test_a_price_above_one_dollar_enters_no_book(text: str) -> None:
    book = Book()

    with pytest.raises(ProtocolError, match="above 1 dollar a share"):
        book.put("bid", text, "1")
    with pytest.raises(ProtocolError, match="above 1 dollar a share"):
        book.put("ask", text, "1")

    assert content(book) == ([], [])
    assert size(text) == float(text)


@given(st.text())
def test_no_text_gives_a_price_outside_zero_and_one(text: str) -> None:
    try:
        value = price(text)
    except ProtocolError:
        return
    assert 0 <= value <= 1


@pytest.mark.parametrize(("text", "value"), [(".48", 0.48), ("0.48", 0.48), ("0", 0), ("1", 1), ("0.0001", 0.0001)])
def test_a_price_is_read_once_and_never_computed(text: str, value: float) -> None:
    assert price(text) == value
    assert price(text) is price(text)


def test_two_spellings_of_a_price_are_one_level() -> None:
    book = book_of([("bid", ".48", "30"), ("bid", "0.480", "20"), ("ask", ".52", "5"), ("ask", "0.52", "0")])

    assert content(book) == ([(0.48, 20.0)], [])


def test_an_empty_book_has_no_best_price() -> None:
    book = Book()

    assert (book.best_bid, book.best_ask) == (None, None)
    assert book.levels("bid", 3) == []


def test_a_best_price_of_zero_is_positive_zero() -> None:
    book = book_of([("ask", "0", "5")])

    assert str(book.best_ask) == "0.0"
