"""A book is verified only while the state that was checked last had the venue's hash, live and recorded alike."""

import json
from collections.abc import Callable

import pytest
from support.night import MS, Night, now
from support.venue import START, Venue
from test_recording_moments import known

from pmlive.recording import RecordedBook
from pmlive.recording.grids import Grid, depth
from pmlive.store import Record

_WRONG = "00" * 20


def _no_hash(night: Night, venue: Venue) -> None:
    night.frame(500, venue.change("bid", "0.43", "6", 500, hash=""))


def _no_hash_and_a_lost_change(night: Night, venue: Venue) -> None:
    venue.put("ask", "0.61", "3", 450)
    night.frame(500, venue.change("bid", "0.40", "6", 500, hash=""))


def _a_wrong_hash(night: Night, venue: Venue) -> None:
    night.frame(500, venue.change("bid", "0.43", "6", 500, hash=_WRONG))


def _a_whole_book_with_a_wrong_hash(night: Night, venue: Venue) -> None:
    night.frame(500, venue.opening(_WRONG))


def _a_change_and_a_whole_book_with_a_wrong_hash_at_once(night: Night, venue: Venue) -> None:
    night.frame(500, venue.change("bid", "0.43", "6", 500))
    night.frame(500, venue.later(_WRONG))


def _a_whole_book_without_a_hash(night: Night, venue: Venue) -> None:
    night.frame(500, venue.opening(""))


def _a_new_connection_whose_book_has_a_wrong_hash(night: Night, venue: Venue) -> None:
    night.close(500, 1)
    night.open(510, 2, ["1"], old=1)
    night.frame(520, venue.opening(_WRONG), conn=2)
    night.close(530, 2, cause=None)
    night.open(530, 1, ["1"])
    night.frame(540, venue.opening(_WRONG))


def _a_part_that_ends_before_a_wrong_hash_can_be_explained(night: Night, venue: Venue) -> None:
    night.frame(500, venue.change("bid", "0.43", "6", 500, hash=_WRONG))
    night.note(501, "cut", b"", 0)
    night.records += night.journal.keyframes(now(501))


def _followed_anew_with_a_book_without_a_hash(night: Night, venue: Venue) -> None:
    night.note(450, "unsubscribe", ["1"])
    night.note(480, "subscribe", ["1"])
    night.frame(500, venue.opening(""))


def _unproved(night: Night, venue: Venue, case: Callable[[Night, Venue], None]) -> None:
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    night.frame(100, venue.change("bid", "0.43", "5", 100))
    night.tick(400)
    assert night.token().state == "verified"
    case(night, venue)
    night.tick(900)


def _segments(night: Night) -> list[list[Record]]:
    """Split the records where a part of the recording ends."""
    kinds = [record.kind for record in night.records]
    at = kinds.index("cut") + 1 if "cut" in kinds else len(kinds)
    return [part for part in (night.records[:at], night.records[at:]) if part]


def _recorded(night: Night, at: float) -> RecordedBook:
    """Read the book of a time, which a table of depth has to call the same."""
    index = known(_segments(night))
    book = index.book_at("1", now(at))
    table = depth(index, "1", Grid(index, MS, now(at), now(at) + 1), 3)
    assert table["quality"].to_list() == [book.quality]
    return book


@pytest.mark.parametrize(
    "case",
    [
        _no_hash,
        _a_wrong_hash,
        _a_whole_book_with_a_wrong_hash,
        _a_change_and_a_whole_book_with_a_wrong_hash_at_once,
        _a_whole_book_without_a_hash,
        _a_new_connection_whose_book_has_a_wrong_hash,
        _a_part_that_ends_before_a_wrong_hash_can_be_explained,
        _followed_anew_with_a_book_without_a_hash,
    ],
)
def test_what_cannot_be_proved_is_unverifiable_until_a_hash_fits(case: Callable[[Night, Venue], None]) -> None:
    night, venue = Night(), Venue()
    _unproved(night, venue, case)
    live = night.token().state
    last = night.records[-1].recv
    night.frame(950, venue.later())
    night.frame(1000, venue.change("bid", "0.44", "7", 1000))
    night.tick(1500)
    again = night.token().state
    night.end(2000)

    book = _recorded(night, 899)

    assert now(899) > last
    assert (live, book.quality) == ("unverifiable", "unverifiable"), book
    assert "fit" in book.why
    assert (again, _recorded(night, 1499).quality) == ("verified", "verified")


def test_the_counts_of_a_minute_prove_no_book_of_a_token_that_was_followed_anew_in_it() -> None:
    night, venue = Night(), Venue()
    _unproved(night, venue, _followed_anew_with_a_book_without_a_hash)
    night.tick(65_000)
    live = night.token().state
    night.end(130_000)

    assert (live, _recorded(night, 64_999).quality) == ("unverifiable", "unverifiable")
    assert _recorded(night, 125_000).quality == "unverifiable"


def test_a_change_that_was_lost_while_no_hash_came_is_in_no_verified_book() -> None:
    night, venue = Night(), Venue()
    _unproved(night, venue, _no_hash_and_a_lost_change)
    live = night.token().state
    night.end(2000)

    assert (live, _recorded(night, 899).quality) == ("unverifiable", "unverifiable")


def test_tokens_whose_hashes_often_failed_are_checked_again_once_a_whole_book_fits() -> None:
    night, venue = Night(), Venue()
    _unproved(night, venue, _a_whole_book_with_a_wrong_hash)
    for number in range(20):
        night.frame(
            1000 + 500 * number, venue.change("bid", "0.43", str(20 + number), 1000 + 500 * number, hash=_WRONG)
        )
    assert night.token().state == "unverifiable"
    night.frame(12_000, venue.opening())
    assert night.token().state == "verified"

    venue.put("ask", "0.61", "3", 12_050)
    for number in range(2):
        night.frame(12_100 + 500 * number, venue.change("bid", "0.40", str(6 + number), 12_100 + 500 * number))
    night.tick(14_000)

    assert night.token().state == "stale"


def test_a_book_that_was_doubted_when_its_market_was_resolved_is_gone() -> None:
    night, venue = Night(), Venue()
    _unproved(night, venue, lambda night, _: night.frame(500, '{"event_type": "book", "asset_id": "1"}'))
    assert night.token().state == "stale"
    resolved = {
        "event_type": "market_resolved",
        "id": "1",
        "market": venue.market,
        "assets_ids": ["1", "2"],
        "winning_asset_id": "1",
        "winning_outcome": "Yes",
        "timestamp": str(START + 950),
    }
    night.frame(950, json.dumps(resolved))
    night.end(2000)

    assert night.token().state == "none"
    assert night.gaps()[-1][3] == 950
    assert _recorded(night, 1500).quality == "stale"


def test_what_could_not_be_proved_before_a_new_connection_is_not_forgotten() -> None:
    night, venue = Night(), Venue()
    _unproved(night, venue, _a_part_that_ends_after_a_proof)
    night.frame(1000, venue.change("bid", "0.43", "6", 1000, hash=""))
    night.close(1500, 1)
    night.open(1600, 2, ["1"], old=1)
    night.frame(1700, venue.opening(""), conn=2)
    night.tick(2900)
    live = night.token().state
    night.end(4000)

    assert (live, _recorded(night, 2899).quality) == ("unverifiable", "unverifiable")


def _a_part_that_ends_after_a_proof(night: Night, venue: Venue) -> None:
    night.frame(450, venue.change("bid", "0.43", "7", 450))
    night.note(500, "cut", b"", 0)
    night.records += night.journal.keyframes(now(500))
