"""What becomes of books and their proofs, told message by message with an invented clock."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import frames
from support.night import MS, NOON, Night, now
from support.venue import FACTS, START, Venue, price_change

from pmlive._wire import decode
from pmlive.book import Book
from pmlive.events import BookSnapshot
from pmlive.integrity import Counts, Facts
from pmlive.pipeline.journal import rebuild


def begun(*, tokens: tuple[str, ...] = ("1",)) -> tuple[Night, Venue]:
    """Open a connection and send the opening book of one token."""
    night, venue = Night(), Venue()
    night.open(0, 1, tokens)
    night.frame(10, venue.opening())
    return night, venue


def same(night: Night, venue: Venue) -> bool:
    return night.token(venue.token).book.differences(venue.book) == 0


def counts(night: Night, token: str = "1") -> Counts:  # no secret
    written = night.table("checks").filter(token_id=token).select(Counts.names())
    return Counts.total((Counts(*written.sum().row(0)), night.token(token).counts))


def first_token(frame: str) -> str:
    (book, *_) = [event for event in decode("market", frame) if isinstance(event, BookSnapshot)]
    return book.token_id


# --- real frames ---


def test_frames_of_december_2025_are_verified() -> None:
    recorded = frames("polybot-2025-12-23")
    tokens = [book["asset_id"] for book in json.loads(recorded["opening books"]["frame"])]
    night = Night()
    night.open(0, 1, tokens)

    for at, name in enumerate(["opening books", "price change", "later book"]):
        night.frame(100 * at, recorded[name]["frame"])

    assert set(night.checks(2000)) == {"verified"}
    assert all(night.token(token).trusted() for token in tokens)
    assert sum(counts(night, token).hash_mismatch for token in tokens) == 0
    # Levels changed between the second frame and the third that nobody recorded, and the third tells.
    assert [cause for _, cause, _, _ in night.gaps()] == ["mismatch"]


def test_frames_of_october_2025_are_verified_without_a_trade_price() -> None:
    recorded = frames("polypy-2025-10-23")
    token = first_token(recorded["opening book"]["frame"])
    night = Night()
    night.open(0, 1, [token])

    for at, name in enumerate(["opening book", "price change 0", "price change 1"]):
        night.frame(1000 * at, recorded[name]["frame"])

    assert set(night.checks(5000)) == {"verified"}
    assert night.token(token).proof.facts.era == "2025"


def test_the_frames_of_2024_are_verified() -> None:
    recorded = frames("polypy-2024-12-05")
    names = [name for name in recorded if name.startswith("multi_book")]
    tokens = {first_token(recorded[name]["frame"]) for name in names[:2]}
    night = Night()
    night.open(0, 1, sorted(tokens))

    for at, name in enumerate(names):
        night.frame(2000 * at, recorded[name]["frame"])

    assert set(night.checks(60_000)) == {"verified"}
    # A whole book tells of changes that nobody recorded.
    assert {cause for _, cause, _, _ in night.gaps()} <= {"mismatch"}


# --- snapshots and epochs ---


def test_a_change_before_the_snapshot_is_written_down_and_not_applied() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])

    night.frame(5, Venue().change("bid", "0.45", "7", 1))
    assert night.token().book.levels("bid") == []
    assert not night.token().trusted()
    venue.changed = 2
    night.frame(10, venue.opening())

    assert night.checks(1000) == ["skipped"]
    assert same(night, venue)
    assert night.pipeline.books.early == 1


def test_a_rest_book_is_taken_with_the_newer_changes_that_waited_for_it() -> None:
    """REST resync with buffered deltas (nautilus_trader#4638)."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(1, venue.change("bid", "0.43", "5", 1))
    rest = venue.rest()
    night.frame(3, venue.change("bid", "0.44", "6", 3))
    night.frame(4, venue.change("bid", "0.43", "0", 4))

    night.note(9, "book", rest)
    night.frame(20, venue.change("ask", "0.57", "8", 20))

    assert same(night, venue)
    assert night.checks(1000) == ["skipped", "skipped", "skipped", "verified"]
    assert night.table("book_snapshots")["opening"].to_list() == [True]


@pytest.mark.parametrize("others", [0, 200])
def test_an_old_rest_book_does_not_bring_back_a_book_that_changes_are_missing_of(others: int) -> None:
    """REST may answer with what it had long ago; what is forgotten, or was lost, cannot be put on that."""
    night, venue = begun()
    answer = venue.rest()
    for at in range(100, 2000, 100):
        night.frame(at, venue.change("bid", "0.43", str(at), at))
    if not others:
        venue.put("bid", "0.33", "7", 2000)
    for at in range(2000, 2000 + others):
        night.frame(at, venue.change("ask", "0.57", str(at), at))
    if others:
        # It is told and wrong, so that the book by REST is asked for.
        venue.put("bid", "0.33", "7", 2300)
    night.frame(2400, venue.change("bid", "0.43", "5", 2400))
    night.frame(2500, venue.change("bid", "0.43", "6", 2500))
    night.tick(4000)
    assert night.token().gap is not None

    night.note(4100, "book", answer)
    night.tick(6000)

    assert not same(night, venue)
    assert night.token().gap is not None
    night.note(7000, "book", venue.rest())
    assert same(night, venue)
    assert night.token().state == "verified"


def test_an_old_rest_book_does_not_explain_a_hash_that_does_not_fit() -> None:
    night, venue = begun()
    answer = venue.rest()
    night.frame(100, venue.change("bid", "0.43", "5", 100))
    venue.put("bid", "0.33", "7", 150)
    night.frame(300, venue.change("bid", "0.43", "0", 300))
    night.tick(600)
    assert night.token().state == "unverifiable"

    night.note(700, "book", answer)

    assert night.token().state != "verified"
    night.tick(3000)
    assert night.token().gap is not None


def test_an_old_rest_book_is_no_proof_of_the_time_at_which_it_came() -> None:
    """Without hashes nothing shows that no change was lost between the book and now."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening(""))
    answer = venue.rest()
    night.frame(100, venue.change("bid", "0.43", "5", 100, hash=""))
    night.frame(200, json.dumps([{"event_type": "price_change", "market": "0xm", "price_changes": [{}]}]))
    night.note(700, "book", answer)
    assert night.token().trusted()
    night.frame(900, venue.change("bid", "0.43", "6", 900, hash="", best_bid="0.44"))
    night.end(2000)

    assert ("1", "mismatch", 10) in [gap[:3] for gap in night.gaps()]


def test_a_change_of_an_earlier_connection_is_never_applied() -> None:
    night, venue = begun()
    old = venue.change("bid", "0.45", "7", 20)
    night.close(30, 1)
    night.open(40, 2, ["1"], old=1)

    night.frame(41, old, conn=1)
    assert night.token().book.best_bid == 0.42
    assert not night.token().trusted()
    venue.changed = 50
    night.frame(50, venue.opening(), conn=2)
    night.frame(51, old, conn=1)

    assert same(night, venue)


def test_changes_that_waited_in_an_earlier_connection_are_not_applied_in_the_next() -> None:
    """Found by reading: changes were remembered by market, so those of a dead connection could reach a new book."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(5, Venue().change("bid", "0.45", "7", 100))
    night.close(10, 1)
    night.open(20, 2, ["1"], old=1)

    night.frame(30, venue.opening(), conn=2)

    assert night.token().book.best_bid == 0.42


def test_a_reconnection_is_a_gap_until_the_next_snapshot() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.45", "7", 100))
    night.close(500, 1, detail="reset")
    assert [gap.cause for gap in night.pipeline.open_gaps()] == ["disconnect", "disconnect"]

    night.open(900, 2, ["1"], old=1)
    assert [gap.token_id for gap in night.pipeline.open_gaps()] == ["1"]
    venue.put("ask", "0.55", "3", 600)
    night.frame(1000, venue.opening(), conn=2)

    assert night.pipeline.open_gaps() == []
    assert night.gaps() == [(None, "disconnect", 100, 900), ("1", "disconnect", 100, 1000)]
    assert same(night, venue)


def test_a_connection_that_was_ended_on_purpose_is_no_gap() -> None:
    night, _ = begun()

    night.close(500, 1, None, "closed by us")

    assert night.gaps() == []
    assert not night.token().trusted()
    assert night.pipeline.links == {}


def test_a_gap_ends_when_nobody_wants_the_token_any_more() -> None:
    night, _ = begun()
    night.close(500, 1)

    night.note(700, "unsubscribe", ["1"])
    night.close(800, 1, None)

    assert night.gaps() == [("1", "disconnect", 10, 700), (None, "disconnect", 10, 800)]
    assert night.pipeline.open_gaps() == []
    assert night.pipeline.books.tokens == {}


def test_a_late_opening_book_is_a_gap_until_it_comes() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])

    night.gap(10_000, "late opening book", "1", since=0)
    assert night.wanted == {}
    night.note(12_000, "book", venue.rest())

    assert night.gaps() == [("1", "late opening book", 0, 12_000)]
    assert night.table("gaps")["conn"].to_list() == [1]
    assert night.token().trusted()


def test_a_token_that_is_added_later_begins_with_its_own_book() -> None:
    night, venue = begun()
    other = Venue("2")
    night.note(100, "subscribe", ["2"])
    night.frame(105, other.change("bid", "0.45", "1", 101))
    other.changed = 102
    night.frame(110, other.opening())
    night.frame(120, price_change(venue.entry("bid", "0.45", "7", 115), other.entry("ask", "0.55", "7", 115), at=115))

    assert night.checks(2000) == ["skipped", "verified", "verified"]
    assert same(night, venue)
    assert same(night, other)


def test_a_token_on_one_connection_is_not_touched_by_copies_on_another() -> None:
    """A connection gets both tokens' entries of a market, whichever it asked for.

    Found by reading: the copy that came first was remembered, and the token's own then taken for its repetition.
    """
    yes, no = Venue("1"), Venue("2")
    night = Night()
    night.open(0, 1, ["1"])
    night.open(0, 2, ["2"])
    night.frame(10, yes.opening(), conn=1)
    night.frame(10, no.opening(), conn=2)

    for step, first in enumerate([1, 2, 2, 1, 1, 2]):
        # Two messages of the same millisecond, in one order on one connection and both later on the other.
        at = 100 + 10 * (step // 2)
        size = str(step + 1)
        text = price_change(yes.entry("bid", "0.43", size, at), no.entry("ask", "0.57", size, at), at=at)
        night.frame(at + step, text, conn=first)
        night.frame(at + step + 0.5, text, conn=3 - first)

    assert same(night, yes)
    assert same(night, no)
    assert sorted(set(night.checks(3000))) == ["unverifiable", "verified"]
    assert night.table("book_deltas").height == 12
    assert night.pipeline.books.duplicates == 0


# --- repetitions and order ---


@pytest.mark.parametrize("order", [1, -1])
def test_what_the_venue_says_twice_is_applied_once(order: int) -> None:
    night, venue = begun(tokens=("1", "2"))
    other = Venue("2")
    night.frame(11, other.opening())
    entries = [venue.entry("bid", "0.43", "5", 20), other.entry("ask", "0.57", "5", 20)]

    night.frame(20, price_change(*entries, at=20))
    night.frame(22, price_change(*entries[::order], at=20))

    assert night.checks(1000) == ["verified", "verified"]
    assert night.pipeline.books.duplicates == 2


def test_a_repetition_after_the_next_change_is_not_applied() -> None:
    night, venue = begun()
    first = venue.change("bid", "0.43", "5", 20)
    night.frame(20, first)
    night.frame(30, venue.change("bid", "0.43", "9", 30))

    night.frame(31, first)

    assert same(night, venue)
    assert night.checks(1000) == ["verified", "verified"]
    assert night.pipeline.books.duplicates == 1


def test_a_repetition_before_the_snapshot_is_written_once() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    early = venue.change("bid", "0.43", "5", 1)
    night.frame(5, early)
    night.frame(6, early)
    night.frame(10, venue.opening())

    assert night.checks(1000) == ["skipped"]
    assert night.pipeline.books.duplicates == 1


def test_two_changes_that_come_in_the_wrong_order_are_both_kept() -> None:
    night, venue = begun()
    first = venue.change("bid", "0.43", "5", 20)
    second = venue.change("ask", "0.57", "5", 30)

    night.frame(30, second)
    night.frame(31, first)
    night.frame(200, venue.change("bid", "0.30", "1", 190))

    assert same(night, venue)
    assert night.pipeline.books.late == 1
    assert night.checks(2000)[-1] == "verified"
    assert night.gaps() == []


def test_a_late_change_does_not_undo_a_newer_one_of_its_level() -> None:
    night, venue = begun()
    first = venue.change("bid", "0.43", "5", 20)
    second = venue.change("bid", "0.43", "9", 30)

    night.frame(30, second)
    night.frame(31, first)
    night.frame(200, venue.change("bid", "0.30", "1", 190))

    assert same(night, venue)
    assert night.pipeline.books.late == 1
    assert night.checks(2000) == ["verified", "skipped", "verified"]
    assert night.gaps() == []


def test_a_late_change_that_a_whole_book_holds_already_is_not_put_again() -> None:
    night, venue = begun()
    first = venue.change("bid", "0.43", "5", 20)
    venue.put("bid", "0.43", "0", 30)

    night.frame(31, venue.later())
    night.frame(32, first)
    night.frame(200, venue.change("bid", "0.30", "1", 190))

    assert same(night, venue)
    assert night.pipeline.books.late == 1


def test_the_same_change_of_another_state_is_no_repetition() -> None:
    """Found by hypothesis: what changes nothing was taken for a repetition, though its hash told of a lost change."""
    night, venue = begun()
    night.frame(20, venue.change("bid", "0.10", "0", 20))
    venue.put("bid", "0.11", "1", 20)

    night.frame(20, venue.change("bid", "0.10", "0", 20))

    night.tick(5000)
    assert night.pipeline.books.duplicates == 0
    assert not night.token().trusted()


def test_a_late_change_from_before_all_that_is_remembered_is_not_put() -> None:
    night, venue = begun()
    first = venue.change("bid", "0.43", "5", 20)
    night.frame(20, venue.change("bid", "0.43", "9", 21))
    for number in range(100):
        night.frame(30 + number, venue.change("ask", "0.57", str(number + 1), 30 + number))

    night.frame(140, first)

    assert same(night, venue)
    assert night.checks(2000)[-1] == "skipped"


def test_a_change_that_was_refused_is_not_put_on_an_older_book() -> None:
    """Found by review: it raised, and the log of such a night could not be recovered."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    answer = venue.rest()
    good = venue.entry("bid", "0.43", "5", 3)
    night.frame(2, price_change(dict(good, price="1.5"), at=2))
    night.frame(3, price_change(good, at=3))

    night.note(9, "book", answer)

    assert same(night, venue)
    assert night.token().trusted()


def test_a_top_that_a_burst_reaches_later_is_no_mismatch() -> None:
    night, venue = Night(hashes=False), Venue()
    night.open(0, 1, ["1"])
    night.frame(1, venue.opening())
    early = venue.change("bid", "0.43", "5", 20, best_bid="0.44")

    night.frame(20, early)
    night.frame(20, venue.change("bid", "0.44", "5", 20))
    night.frame(20, venue.change("bid", "0.45", "5", 20))

    night.tick(3000)
    assert night.gaps() == []
    assert night.token().trusted()


@pytest.mark.parametrize("said", ["first", "second", "both"])
def test_a_size_that_comes_back_within_a_millisecond_is_no_repetition(said: str) -> None:
    night, venue = begun()
    there = venue.change("bid", "0.43", "5", 20)
    night.frame(20, there)
    night.frame(20, venue.change("bid", "0.43", "0", 20))
    back = venue.change("bid", "0.43", "5", 20)
    night.frame(20, back)

    for again in {"first": [there], "second": [back], "both": [there, back]}[said]:
        night.frame(21, again)

    night.tick(1000)
    assert same(night, venue)
    assert night.table("book_deltas")["size"].to_list() == [5.0, 0.0, 5.0]
    assert night.pipeline.books.duplicates == (2 if said == "both" else 1)


def test_a_whole_book_that_is_older_than_a_trusted_one_is_not_taken() -> None:
    night, venue = begun()
    old = venue.later()
    night.frame(50, venue.change("bid", "0.43", "5", 50))

    night.frame(60, old)

    assert same(night, venue)
    assert night.gaps() == []
    assert night.table("book_snapshots").height == 2


# --- judging ---


def test_each_change_is_proven_by_hash_and_by_best_prices() -> None:
    night, venue = begun()
    for step in range(20):
        night.frame(100 * step + 20, venue.change("bid", f"0.{30 + step}", "5", 100 * step + 20))

    assert set(night.checks(10_000)) == {"verified"}
    assert counts(night) == Counts(hash_verified=21, bbo_ok=20)


def test_a_burst_is_judged_by_its_last_hash() -> None:
    """Entries of one millisecond all carry the hash of the last (protocol.md, 2, caveat 2)."""
    night, venue = begun()
    entries = [venue.entry("bid", price, "5", 50) for price in ("0.43", "0.44", "0.45")]
    shared = [{**entry, "hash": venue.hash(50)} for entry in entries]

    for step, entry in enumerate(shared):
        night.frame(50 + step, price_change(entry, at=50))

    assert night.checks(1000) == ["unverifiable", "unverifiable", "verified"]
    assert counts(night).hash_unverifiable == counts(night).hash_mismatch == 0


@pytest.mark.parametrize("apart", [0.2, 30, 90])
def test_a_burst_is_not_judged_before_its_end_wherever_the_grid_lies(apart: float) -> None:
    """Found by reading: a token that was already waiting was judged with its newest row, however new."""
    night, venue = begun()
    night.frame(150, venue.change("bid", "0.30", "1", 50))
    entries = [venue.entry("bid", price, "5", 60) for price in ("0.43", "0.44")]
    shared = [{**entry, "hash": venue.hash(60)} for entry in entries]

    night.frame(299.9, price_change(shared[0], at=60))
    night.frame(299.9 + apart, price_change(shared[1], at=60))

    assert night.checks(3000) == ["verified", "unverifiable", "verified"]
    assert counts(night).hash_unverifiable == 0


def test_a_trade_price_may_be_in_the_hash_before_the_trade_is_told() -> None:
    """py-clob-client-v2#117."""
    night, venue = begun()
    venue.facts = Facts(min_order_size="5", tick_size="0.01", neg_risk=False, last_trade_price="0.420")
    night.frame(100, venue.change("bid", "0.42", "3", 100))
    night.frame(188, venue.trade("0.42", 100))
    night.frame(300, venue.change("bid", "0.42", "2", 300))

    assert night.checks(2000) == ["verified", "verified"]
    assert night.table("trades")["price"].to_list() == [0.42]


def test_a_new_tick_size_is_in_the_hashes_after_it() -> None:
    night, venue = begun()
    venue.facts = Facts(min_order_size="5", tick_size="0.001", neg_risk=False, last_trade_price="0.500")
    told = {"event_type": "tick_size_change", "asset_id": "1", "market": "0xm", "timestamp": str(START + 50)}
    night.frame(50, json.dumps(told | {"old_tick_size": "0.01", "new_tick_size": "0.001"}))
    night.frame(60, venue.change("bid", "0.421", "3", 60))

    assert night.checks(2000) == ["verified"]
    assert night.table("market_events")["new_tick_size"].to_list() == [0.001]


def test_hashes_of_an_unknown_kind_are_unverifiable_and_never_a_mismatch() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening("ab" * 20))

    for step in range(40):
        night.frame(
            100 + 100 * step, venue.change("bid", f"0.{10 + step % 30}", str(step + 1), 100 * step + 1, hash="cd" * 20)
        )

    assert set(night.checks(10_000)) == {"unverifiable"}
    assert night.gaps() == []
    assert counts(night).hash_mismatch == 0
    assert counts(night).bbo_ok == 40
    assert night.token().trusted()


def test_a_message_without_hash_is_unverifiable() -> None:
    night, venue = begun()

    night.frame(100, venue.change("bid", "0.43", "5", 100, hash=""))

    assert night.checks(2000) == ["unverifiable"]
    assert night.gaps() == []


def test_one_wrong_hash_that_the_next_state_contradicts_is_unverifiable() -> None:
    night, venue = begun()

    night.frame(100, venue.change("bid", "0.43", "5", 100, hash="00" * 20))
    night.frame(400, venue.change("bid", "0.44", "5", 400))

    assert night.checks(5000) == ["unverifiable", "verified"]
    assert night.gaps() == []
    assert counts(night) == Counts(hash_verified=2, hash_unverifiable=1, bbo_ok=2)


def test_a_wrong_hash_that_nothing_follows_is_a_mismatch_after_a_second() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100, hash="00" * 20))

    night.tick(1099)
    assert night.token().trusted()
    night.tick(1300)

    assert not night.token().trusted()
    assert night.checks(1300) == ["mismatch"]
    assert counts(night).hash_mismatch == 1
    assert "1" in night.wanted
    (gap,) = night.pipeline.open_gaps()
    assert gap.cause == "mismatch"


_ENDS: dict[str, Callable[[Night], object]] = {
    "a cut": lambda night: night.close(5400, 1),
    "the end": lambda night: night.end(5400),
    "an end that was meant": lambda night: night.note(5400, "unsubscribe", ["1"]),
    "a resolution": lambda night: night.frame(5400, _resolved()),
    "a new tick size": lambda night: night.frame(5400, _tick_size()),
    "the next segment": lambda night: night.note(5400, "cut", b"", conn=0),
    "a message that cannot be read": lambda night: night.frame(5400, "half of"),
}


def _resolved() -> str:
    market = {"event_type": "market_resolved", "market": Venue().market, "winning_asset_id": "1"}
    return json.dumps(market | {"assets_ids": ["1"], "winning_outcome": "Yes", "timestamp": str(START + 5400)})


def _tick_size() -> str:
    sizes = {"old_tick_size": "0.01", "new_tick_size": "0.001", "timestamp": str(START + 5400)}
    return json.dumps({"event_type": "tick_size_change", "market": Venue().market, "asset_id": "1"} | sizes)


@pytest.mark.parametrize("end", _ENDS)
def test_a_wrong_hash_that_something_else_ends_is_a_gap_since_the_last_proof(end: str) -> None:
    """What was lost before it may be seconds or hours old."""
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100))
    venue.change("bid", "0.44", "5", 200)  # nobody received it
    night.frame(5000, venue.change("bid", "0.40", "6", 5000, best_bid="", best_ask=""))
    night.tick(5300)

    _ENDS[end](night)
    night.end(9000)

    assert ("1", "mismatch", 100) in [gap[:3] for gap in night.gaps()]
    assert counts(night).hash_mismatch == 1 if end in ("a cut", "the end") else True


def test_a_wrong_hash_in_a_millisecond_that_may_go_on_tells_nothing_when_the_connection_ends() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100))
    night.frame(200, venue.change("bid", "0.43", "6", 200, hash="00" * 20))

    night.close(201, 1)

    assert [cause for _, cause, _, _ in night.gaps()] == []
    assert {gap.cause for gap in night.pipeline.open_gaps()} == {"disconnect"}


def test_a_wrong_hash_before_a_whole_book_that_is_ours_casts_no_doubt() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100, hash="00" * 20))
    night.tick(300)

    night.frame(400, venue.later())

    assert night.gaps() == []
    assert night.token().trusted()


# --- times that cannot be right ---

_HOUR = 3_600_000


@pytest.mark.parametrize("back", [10_500, _HOUR])
def test_times_that_go_back_far_make_a_book_stale_until_a_whole_one(back: int) -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100))

    night.frame(200, venue.change("bid", "0.44", "5", 200 - back))
    assert not night.token().trusted()
    assert "1" in night.wanted
    night.frame(300, venue.later())
    night.frame(400, venue.change("bid", "0.45", "5", 400 - back))

    assert same(night, venue)
    assert night.token().trusted()
    assert [(cause, ended) for _, cause, _, ended in night.gaps()][-1] == ("malformed", 300)
    assert night.pipeline.counts["malformed"] == 1


@pytest.mark.parametrize("ahead", [_HOUR, START * 999])
def test_a_book_with_a_time_far_ahead_does_not_freeze_its_token(ahead: int) -> None:
    night, venue = begun()
    venue.changed = 100 + ahead
    night.frame(100, venue.later())

    night.frame(200, venue.change("bid", "0.43", "5", 200))
    assert not night.token().trusted()
    night.frame(300, venue.later())
    night.frame(400, venue.change("bid", "0.44", "5", 400))

    assert same(night, venue)
    assert night.token().trusted()


# --- tokens under other names ---


def _named(venue: Venue, *names: str) -> str:
    entries = [venue.entry("bid", "0.43", "5", 100, asset_id=name) for name in names]
    return price_change(*entries, at=100, market=venue.market)


@pytest.mark.parametrize("name", ["0x1", "01", "1 ", "1.0", "99"])
def test_a_change_of_a_followed_market_under_another_name_makes_its_books_stale(name: str) -> None:
    night, venue = begun()

    night.frame(100, _named(venue, name, name + "7"))

    assert not night.token().trusted()
    assert "1" in night.wanted
    night.frame(200, venue.later())
    assert night.token().trusted()
    # It goes on under that name: nor is it believed later.
    night.frame(300, _named(venue, name, name + "7"))
    assert not night.token().trusted()


def test_who_follows_one_outcome_is_told_of_the_other_beside_it() -> None:
    night, venue = begun()

    night.frame(100, _named(venue, "1", "2"))
    night.frame(200, _named(venue, "2"))

    assert night.gaps() == []
    assert night.token().trusted()


def test_of_two_followed_outcomes_the_one_that_is_named_otherwise_is_stale() -> None:
    night, venue = begun(tokens=("1", "2"))
    night.frame(20, Venue(token="2").opening())

    night.frame(100, _named(venue, "1", "0x2"))

    assert night.token("1").trusted()
    assert not night.token("2").trusted()


def test_an_outcome_that_is_not_wanted_any_more_casts_no_doubt_on_the_other() -> None:
    night, _ = begun(tokens=("1", "2"))
    other = Venue(token="2")
    night.frame(20, other.opening())
    night.note(50, "unsubscribe", ["2"])

    night.frame(100, other.trade("0.5", 100))
    night.frame(120, other.change("bid", "0.43", "5", 120))

    assert night.token("1").trusted()


def test_whom_messages_name_beside_a_token_is_known_to_a_reader_that_begins_later() -> None:
    night, venue = begun()
    night.frame(100, _named(venue, "1", "2"))
    state = night.pipeline.books.save(night.token(), now(200))

    later = Night()
    later.open(0, 1, ["1"])
    later.pipeline.books.drop("1", now(0))
    later.note(10, "state", state)
    later.frame(300, _named(venue, "2"))

    assert later.gaps() == []


def test_two_wrong_hashes_are_a_mismatch_that_a_snapshot_ends() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100))
    night.frame(200, venue.change("bid", "0.43", "6", 200, hash="00" * 20))
    night.frame(300, venue.change("bid", "0.43", "7", 300, hash="00" * 20))
    night.frame(301, venue.change("bid", "0.43", "8", 301))
    assert night.token().gap is not None

    night.frame(900, venue.later())
    night.frame(1000, venue.change("bid", "0.43", "9", 1000))

    assert night.checks(3000) == ["verified", "mismatch", "mismatch", "skipped", "verified"]
    # From the last proof on nothing is certain.
    assert night.gaps() == [("1", "mismatch", 100, 900)]
    assert night.wanted == {}
    assert counts(night).hash_mismatch == 2


@pytest.mark.parametrize(
    ("way", "since"),
    [(0, 200_000), (900, 200_000), (1100, 198_900), (100_000, 100_000), (130_000, 200_000), (-5000, 200_000)],
)
@pytest.mark.parametrize("wrong", ["hash", "top", "book"])
def test_what_a_late_stream_may_have_lost_is_missing_since_the_venue_s_time_of_the_last_proof(
    wrong: str, way: int, since: float
) -> None:
    """``way`` is how much later than the venue's time of them changes come, in milliseconds."""
    noon = NOON // MS - START
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    night.frame(200_000, venue.change("bid", "0.43", "5", noon + 200_000 - way))
    sent = noon + 200_200 - way
    lies = {"hash": {"hash": "00" * 20}, "top": {"best_bid": "0.44"}, "book": {}}[wrong]
    night.frame(200_200, venue.change("bid", "0.43", "6", sent, **lies))
    if wrong == "book":
        venue.put("bid", "0.42", "3", sent + 10)
        night.frame(200_300, venue.later())
    night.tick(203_000)
    night.end(204_000)

    assert [gap[:3] for gap in night.gaps()] == [("1", "mismatch", since if wrong != "book" else since + 200)]


def test_best_prices_that_are_not_the_book_s_are_a_mismatch() -> None:
    night, venue = begun()

    night.frame(100, venue.change("bid", "0.43", "5", 100, best_bid="0.44"))

    assert night.checks(1000) == ["mismatch"]
    assert counts(night).bbo_mismatch == 1
    assert not night.token().trusted()


@pytest.mark.parametrize(("bid", "ask"), [("", ""), ("0", "0"), ("0.43", ""), ("", "0.58")])
def test_best_prices_that_are_not_stated_contradict_nothing(bid: str, ask: str) -> None:
    night, venue = begun()

    night.frame(100, venue.change("bid", "0.43", "5", 100, best_bid=bid, best_ask=ask))

    assert night.checks(1000) == ["verified"]


def test_an_empty_side_is_stated_as_0_or_1() -> None:
    night, venue = begun()

    for step, price in enumerate(("0.40", "0.41", "0.42")):
        night.frame(100 + 50 * step, venue.change("bid", price, "0", 100 + 50 * step))
    for step, price in enumerate(("0.58", "0.59", "0.60")):
        night.frame(400 + 50 * step, venue.change("ask", price, "0", 400 + 50 * step))

    assert set(night.checks(2000)) == {"verified"}
    last = night.table("prices").tail(1).row(0, named=True)
    assert {name: last[name] for name in ("best_bid", "best_ask", "mid", "spread")} == dict.fromkeys(
        ("best_bid", "best_ask", "mid", "spread")
    )


def test_a_fresh_book_that_is_ours_is_counted() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100))

    night.frame(200, venue.later())

    assert counts(night).snapshot_ok == 1
    assert night.gaps() == []


def test_a_fresh_book_that_is_not_ours_is_a_mismatch_that_it_ends_itself() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100))
    venue.put("bid", "0.20", "5", 150)

    night.frame(200, venue.later())

    assert counts(night).snapshot_mismatch == 1
    assert night.gaps() == [("1", "mismatch", 100, 200)]
    assert same(night, venue)
    assert night.token().trusted()


def test_a_new_snapshot_is_asked_for_once_a_minute_at_most() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100, best_bid="0.44"))
    night.tick(400)
    first = night.wanted.pop("1")
    night.token().asked = first
    night.frame(500, venue.later())

    night.frame(600, venue.change("bid", "0.43", "6", 600, best_bid="0.44"))
    night.tick(1000)

    assert night.wanted["1"] - first >= 60_000_000_000


levels = st.tuples(
    st.sampled_from(["bid", "ask"]),
    st.integers(1, 39),
    st.sampled_from(["0", "0", "1", "2.5", "10"]),
    st.sampled_from([0, 1, 1, 40, 250]),
)


@given(st.lists(levels, min_size=1, max_size=25), st.data())
def test_a_lost_change_is_found_or_did_no_harm(history: list[tuple[str, int, str, int]], data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, len(history) - 1))
    night, venue = begun()
    at = 100

    for number, (side, cents, size, later) in enumerate(history):
        at += later
        bid = side == "bid"
        text = venue.change("bid" if bid else "ask", f"0.{cents if bid else cents + 50:02d}", size, at)
        if number != lost:
            night.frame(at, text)
    night.tick(at + 5000)

    token = night.token()
    if token.trusted() and lost < len(history) - 1:
        assert same(night, venue)
    # Whatever was lost, the next whole book puts right.
    night.frame(at + 6000, venue.later())
    assert same(night, venue)
    assert token.trusted()


@given(st.lists(levels, min_size=1, max_size=30))
def test_with_nothing_lost_nothing_is_doubted(history: list[tuple[str, int, str, int]]) -> None:
    night, venue = begun()
    at = 100

    for side, cents, size, later in history:
        at += later + 1
        bid = side == "bid"
        night.frame(at, venue.change("bid" if bid else "ask", f"0.{cents if bid else cents + 50:02d}", size, at))

    assert set(night.checks(at + 3000)) == {"verified"}
    assert same(night, venue)
    assert night.gaps() == []


# --- what cannot be read ---


@pytest.mark.parametrize(
    "said",
    [
        {"price": "NaN"},
        {"price": "-0.2"},
        {"price": "1.01"},
        {"price": "Infinity"},
        {"price": ""},
        {"size": "-5"},
        {"size": "1e5"},
        {"side": "HOLD"},
        {"best_bid": "NaN"},
        {"best_ask": "1.5"},
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_read_is_a_gap_of_its_token_alone(said: dict[str, str]) -> None:
    night, venue = begun(tokens=("1", "2"))
    other = Venue("2")
    night.frame(11, other.opening())
    good = other.entry("ask", "0.57", "5", 100)

    night.frame(100, price_change({**venue.entry("bid", "0.43", "5", 100), **said}, good, at=100))

    assert same(night, other)
    assert night.token("2").trusted()
    (gap,) = night.pipeline.open_gaps()
    assert (gap.token_id, gap.cause) == ("1", "malformed")
    assert night.checks(2000) == ["verified"]
    assert night.pipeline.counts["malformed"] == 1
    assert night.token("1").book.best_bid == 0.42


@pytest.mark.parametrize("said", [{"price": "NaN"}, {"side": "HOLD"}])
def test_an_early_entry_that_cannot_be_read_does_no_harm_later(said: dict[str, str]) -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(100, price_change({**Venue().entry("bid", "0.43", "5", 100), **said}, at=100))

    night.note(110, "book", venue.rest())

    assert same(night, venue)
    assert night.pipeline.counts["malformed"] == 1


def test_a_book_that_cannot_be_read_is_a_gap_of_its_token() -> None:
    night, venue = begun()
    spoilt = json.loads(venue.later())
    spoilt["bids"][0]["price"] = "1.2"

    night.frame(100, json.dumps(spoilt))

    assert not night.token().trusted()
    assert night.pipeline.open_gaps()[0].cause == "malformed"
    assert night.token().book.best_bid == 0.42


@pytest.mark.parametrize(
    "text", ['{"event_type":"book"', "[1,2", '{"a":' * 3000, "\x00\x01", '["x"', "{'a': 1}", "", " "]
)
def test_a_frame_that_is_no_json_makes_every_book_of_its_connection_stale(text: str) -> None:
    """Observed in other clients: a message that cannot be parsed is dropped, and the book goes on as if nothing was."""
    night, venue = begun()
    night.frame(90, venue.change("bid", "0.43", "5", 90))

    night.frame(100, text)

    assert not night.token().trusted()
    assert "1" in night.wanted
    night.frame(500, venue.later())
    assert night.token().trusted()
    # By the venue's time, too, whatever was in it is inside.
    assert night.gaps() == [("1", "malformed", 90, 500)]


@pytest.mark.parametrize("text", ["PONG", "INVALID OPERATION"])
def test_words_are_nothing_heard_and_a_gap_only_where_something_is_wrong(text: str) -> None:
    night, _ = begun()

    night.frame(100, text)
    night.frame(150, text)
    assert night.gaps() == ([] if text == "PONG" else [(None, "malformed", 100, 100)])
    assert night.token().trusted()
    night.close(200, 1)

    assert night.pipeline.counts["control"] == 2
    assert [gap.started for gap in night.pipeline.open_gaps()] == [night.token().heard] * 2


@pytest.mark.parametrize(
    "text", ['{{"event_type":"kind {}"}}', '{{"error":"trouble {}"}}', '{{"event_type":"k{:9999}"}}']
)
def test_the_kinds_of_what_is_unknown_are_bounded_and_the_last_row_says_that_more_follow(text: str) -> None:
    night, _ = begun()

    for number in range(150):
        night.frame(100 + number, text.format(number))
    night.note(300, "cut", b"", 0)
    night.records.clear()
    night.records += night.journal.keyframes(now(300))
    for number in range(150, 300):
        night.frame(300 + number, text.format(number))
    night.end(900)

    details = night.table("gaps")["detail"].to_list()
    more = [detail for detail in details if "further kind" in detail]
    assert len(more) <= 1
    assert len(details) == (101 if more else 1)
    assert details[-1:] == (more or details)
    assert all(len(detail) < 500 for detail in details)
    assert len(night.pipeline.unknown) <= 101
    assert all(len(kind) < 100 for kind in night.pipeline.unknown)
    assert sum(night.pipeline.unknown.values()) == (0 if "error" in text else 300)
    assert rebuild(night.records).get("gaps", night.table("gaps")[:0]).height == 0


def test_messages_of_an_unknown_kind_are_counted_and_their_siblings_applied() -> None:
    night, venue = begun()
    known = json.loads(venue.change("bid", "0.43", "5", 100))

    night.frame(100, json.dumps([{"event_type": "auto_redeem", "asset_id": "1"}, known, {"event_type": "auto_redeem"}]))

    assert night.pipeline.unknown == {"auto_redeem": 2}
    assert same(night, venue)
    # The first names a token that is followed and may have changed its book; the other is told without distrust.
    assert night.token().gap is not None
    assert night.gaps() == [(None, "malformed", 100, 100)]
    night.frame(150, venue.change("bid", "0.43", "6", 150))
    night.frame(900, "PONG")
    assert night.token().trusted()


def test_entries_of_tokens_nobody_asked_for_leave_no_row() -> None:
    night, venue = begun()
    stranger = Venue("9")

    night.frame(
        100, price_change(venue.entry("bid", "0.43", "5", 100), stranger.entry("ask", "0.57", "5", 100), at=100)
    )
    night.frame(110, stranger.later())
    night.frame(120, stranger.trade("0.5", 120))

    assert night.checks(2000) == ["verified"]
    assert night.table("book_deltas")["token_id"].to_list() == ["1"]
    assert night.table("book_snapshots")["token_id"].to_list() == ["1"]
    assert night.table("trades").height == 0
    assert list(night.pipeline.books.tokens) == ["1"]


# --- rows ---


def test_minute_rows_of_checks_add_up() -> None:
    night, venue = begun()
    at = 100
    for step in range(300):
        at += 700
        said = {"hash": "00" * 20} if step % 50 == 10 else {}
        night.frame(at, venue.change("bid", "0.43", str(step + 1), at, **said))
        if step % 40 == 0:
            night.frame(at + 50, venue.later())
    night.end(at + 500)

    rows = night.table("checks")
    total = counts(night)
    names = total.names()
    assert {name: rows[name].sum() for name in names} == {name: getattr(total, name) for name in names}
    assert rows["ts_recv"].is_unique().all()
    assert set(rows["ts_recv"].dt.second()) == {0}
    assert rows.height == at // 60_000 + 1
    checks = night.table("book_deltas")["check"].cast(str)
    assert (checks == "verified").sum() == total.hash_verified - 1 - 8
    assert (checks == "unverifiable").sum() == total.hash_unverifiable == 6


def test_a_quiet_hour_writes_no_rows() -> None:
    night, _ = begun()

    for minute in range(1, 60):
        night.tick(60_000 * minute)
    night.end(3_600_000)

    assert night.table("checks").height == 1
    assert night.table("depth").height == 1
    assert night.table("prices").height == 1


def test_prices_has_a_row_for_each_change_of_the_top_and_no_other() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.30", "5", 100))
    night.frame(200, venue.change("bid", "0.45", "5", 200))
    night.frame(300, venue.change("bid", "0.45", "6", 300))
    night.frame(400, venue.later())
    night.frame(500, venue.change("bid", "0.45", "0", 500))

    tops = night.table("prices").select("best_bid", "best_bid_size", "mid", "spread").rows()
    assert tops == [(0.42, 10, 0.5, 0.16), (0.45, 5, 0.515, 0.13), (0.45, 6, 0.515, 0.13), (0.42, 10, 0.5, 0.16)]


def test_rows_are_numbered_in_the_order_of_arrival_and_no_number_comes_twice() -> None:
    night, venue = begun()
    for step in range(50):
        night.frame(100 + 60 * step, venue.change("bid", "0.43", str(step + 1), 100 + 60 * step))
        if step % 7 == 0:
            night.drain()
    night.end(10_000)

    stored = [frame for name, frame in night.frames().items() if name != "depth"]
    numbers = [number for frame in stored for number in frame["seq"]]

    assert len(set(numbers)) == len(numbers)
    for name, frame in night.frames().items():
        assert frame["seq"].is_sorted(), name
        if name != "checks":
            assert frame["ts_recv"].is_sorted(), name


def test_a_row_whose_check_is_open_is_not_given_up() -> None:
    night, venue = begun()
    night.frame(100, venue.change("bid", "0.43", "5", 100))
    night.frame(101, venue.change("bid", "0.43", "6", 101, hash="00" * 20))
    night.frame(102, venue.change("bid", "0.43", "7", 102))

    night.drain()
    assert night.table("book_deltas").height <= 1
    assert night.checks(3000) == ["verified", "unverifiable", "verified"]


def test_the_model_of_these_tests_agrees_with_the_venue() -> None:
    """The hand-written venue gives what the recorded one gave: hash of the first recorded book, by its facts."""
    venue = Venue(facts=FACTS)
    book = Book()
    for level in json.loads(venue.opening())[0]["bids"]:
        book.put("bid", level["price"], level["size"])

    assert book.best_bid == venue.book.best_bid
    assert json.loads(venue.rest())["hash"] == venue.hash(0)


def test_a_size_that_goes_and_comes_back_in_one_millisecond_is_no_repetition() -> None:
    """Found by the simulated venue at 50 changes a millisecond: the way back was taken for a repetition."""
    night, venue = begun()
    for size in ("5", "9", "5"):
        night.frame(20, venue.change("bid", "0.43", size, 20))

    assert same(night, venue)
    assert night.pipeline.books.duplicates == 0
    assert night.checks(2000) == ["unverifiable", "unverifiable", "verified"]


def test_repeated_changes_that_wait_for_a_rest_book_are_applied_in_the_venue_s_order() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    rest = venue.rest()
    first = venue.change("bid", "0.43", "5", 20)
    night.frame(20, first)
    night.frame(30, venue.change("bid", "0.43", "9", 30))
    night.frame(31, first)

    night.note(40, "book", rest)

    assert same(night, venue)
