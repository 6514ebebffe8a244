"""The venue's own hashes are reproduced, and what cannot be is told apart from what does not fit."""

import hashlib
from itertools import islice

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import frames

from pmlive._wire import decode
from pmlive.book import Book
from pmlive.events import BookSnapshot, PriceChange
from pmlive.integrity import (
    Counts,
    Facts,
    Proof,
    book_digest,
    book_hash,
    candidate_facts,
    facts_text,
    prove,
    trade_price_text,
)

_DEC_2025 = Facts(min_order_size="5", tick_size="0.01", neg_risk=False, last_trade_price="0.500")
_OCT_2025 = Facts(min_order_size="5", tick_size="0.01", neg_risk=False, era="2025")


def snapshots(source: str, name: str) -> list[BookSnapshot]:
    return [event for event in decode("market", frames(source)[name]["frame"]) if isinstance(event, BookSnapshot)]


def price_change(source: str, name: str) -> PriceChange:
    [event] = decode("market", frames(source)[name]["frame"])
    assert isinstance(event, PriceChange)
    return event


def book_of(snapshot: BookSnapshot) -> Book:
    book = Book()
    book.replace(snapshot)
    return book


def hash_of(snapshot: BookSnapshot, facts: Facts) -> str:
    return book_hash(book_of(snapshot), snapshot.market, snapshot.token_id, snapshot.timestamp, facts)


@pytest.mark.parametrize("name", ["opening books", "later book"])
def test_books_of_december_2025_are_proved(name: str) -> None:
    books = snapshots("polybot-2025-12-23", name)

    assert [hash_of(book, _DEC_2025) for book in books] == [book.hash for book in books]


def test_changes_of_december_2025_are_proved_with_a_trade_price_not_yet_announced() -> None:
    books = {book.token_id: book_of(book) for book in snapshots("polybot-2025-12-23", "opening books")}
    change = price_change("polybot-2025-12-23", "price change")

    assert len(change.changes) == 2
    for level in change.changes:
        book = books[level.token_id]
        book.put("bid" if level.side == "BUY" else "ask", level.price, level.size)
        digest = book_digest(book, change.market, level.token_id, change.timestamp)

        assert prove(digest, level.hash, candidate_facts(_DEC_2025, search=False)) is None
        facts = msgspec.structs.replace(_DEC_2025, last_trade_price="0.490")
        assert prove(digest, level.hash, candidate_facts(_DEC_2025, trade_price="0.490", search=False)) == facts
        assert prove(digest, level.hash, candidate_facts(_DEC_2025)) == facts
        assert (book.best_bid, book.best_ask) == (level.best_bid, level.best_ask)


def test_books_and_changes_of_october_2025_are_proved_without_a_trade_price() -> None:
    source = "polypy-2025-10-23"
    [opening] = snapshots(source, "opening book")
    book = book_of(opening)
    assert hash_of(opening, _OCT_2025) == opening.hash

    for name in ("0", "1"):
        change = price_change(source, f"price change {name}")
        [rest] = snapshots(source, f"REST book {name}")
        [level] = [level for level in change.changes if level.token_id == opening.token_id]
        book.put("bid" if level.side == "BUY" else "ask", level.price, level.size)

        assert book_hash(book, change.market, level.token_id, change.timestamp, _OCT_2025) == level.hash
        assert hash_of(rest, _OCT_2025) == rest.hash == level.hash
        assert book.differences(book_of(rest)) == 0


def test_every_state_of_two_tokens_in_december_2024_is_proved() -> None:
    facts = Facts(min_order_size="5", tick_size="0.001", neg_risk=True, era="2025")
    books: dict[str, Book] = {}
    stated: list[str] = []
    computed: list[str] = []

    for name, frame in frames("polypy-2024-12-05").items():
        for event in decode("market", frame["frame"]) if name.startswith("multi_book") else ():
            if isinstance(event, BookSnapshot):
                books[event.token_id] = book_of(event)
                stated.append(event.hash)
                computed.append(hash_of(event, facts))
            elif isinstance(event, PriceChange):
                [level] = event.changes
                book = books[level.token_id]
                book.put("bid" if level.side == "BUY" else "ask", level.price, level.size)
                stated.append(level.hash)
                computed.append(book_hash(book, event.market, level.token_id, event.timestamp, facts))

    assert len(stated) == 11
    assert computed == stated


def test_a_book_of_2024_is_proved_by_its_levels_alone() -> None:
    [book] = snapshots("polypy-2024-11-30", "book")

    assert hash_of(book, Facts(era="2024")) == book.hash == "c298a90870afa056768fc82bf5217c9aa8665284"


def test_the_vector_of_the_official_client_is_reproduced() -> None:
    """Its asks are ascending, which no message of the venue's has been, so only the end comes from here."""
    bids, asks = (
        ",".join(f'{{"price":"{price}","size":"100"}}' for price in side) for side in (("0.3", "0.4"), ("0.6", "0.7"))
    )
    start = f'{{"market":"0xaabbcc","asset_id":"100","timestamp":"123456789","hash":"","bids":[{bids}],"asks":[{asks}]'
    facts = Facts(min_order_size="100", tick_size="0.01", neg_risk=False, last_trade_price="0.5")

    digest = hashlib.sha1(start.encode() + facts_text(facts), usedforsecurity=False)

    assert digest.hexdigest() == "0458ea5755c9f73d64a14636fa5c36ed460ec394"


@pytest.mark.parametrize(
    ("source", "name", "era"),
    [
        ("polybot-2025-12-23", "opening books", "current"),
        ("polypy-2025-10-23", "opening book", "2025"),
        ("polypy-2024-12-05", "messages 0", "2025"),
        ("polypy-2024-11-30", "book", "2024"),
    ],
)
def test_an_opening_book_is_proved_when_nothing_was_told(source: str, name: str, era: str) -> None:
    for snapshot in snapshots(source, name):
        digest = book_digest(book_of(snapshot), snapshot.market, snapshot.token_id, snapshot.timestamp)

        facts = prove(digest, snapshot.hash, candidate_facts(Facts()))

        assert facts is not None
        assert facts.era == era


@given(st.booleans(), st.sampled_from(["0.01", "0.001", "0.0025"]), st.integers(0, 1000))
def test_every_trade_price_of_three_decimals_is_found(neg_risk: bool, tick: str, thousandths: int) -> None:  # noqa: FBT001  # drawn
    known = Facts(min_order_size="5", tick_size=tick, neg_risk=neg_risk, last_trade_price="0.500")
    moved = msgspec.structs.replace(known, last_trade_price=f"{thousandths / 1000:.3f}")
    [snapshot] = snapshots("netqo-2026-08-14", "book")
    digest = book_digest(book_of(snapshot), snapshot.market, snapshot.token_id, snapshot.timestamp)

    assert prove(digest, hash_of(snapshot, moved), candidate_facts(known)) == moved


def test_the_known_facts_are_tried_first() -> None:
    assert next(candidate_facts(_DEC_2025)) == _DEC_2025
    assert next(candidate_facts(_OCT_2025)) == _OCT_2025


def test_the_search_has_an_end() -> None:
    bound = 10_000

    assert sum(1 for _ in islice(candidate_facts(Facts()), bound)) < bound


@pytest.mark.parametrize("name", ["book", "REST book"])
def test_a_book_whose_levels_were_cut_is_not_proved(name: str) -> None:
    [snapshot] = snapshots("netqo-2026-08-14", name)
    digest = book_digest(book_of(snapshot), snapshot.market, snapshot.token_id, snapshot.timestamp)
    known = Facts(snapshot.min_order_size, snapshot.tick_size, snapshot.neg_risk, snapshot.last_trade_price)

    assert prove(digest, snapshot.hash, candidate_facts(known)) is None


def test_any_change_to_a_level_changes_the_hash() -> None:
    [snapshot] = snapshots("polypy-2024-11-30", "book")
    book = book_of(snapshot)
    facts = Facts(era="2024")

    for price, size in (("0.001", "211.28"), ("0.001", "0"), ("0.003", "1"), ("0.0010", "211.27")):
        changed = book_of(snapshot)
        changed.put("bid", price, size)
        assert book_hash(changed, "m", "t", 1, facts) != book_hash(book, "m", "t", 1, facts)


def test_a_proof_learns_and_then_tells_a_mismatch() -> None:
    opening, _ = snapshots("polybot-2025-12-23", "opening books")
    book = book_of(opening)
    proof = Proof()
    proof.learn(last_trade_price=opening.last_trade_price, tick_size=None)

    first = proof.check(book, opening.market, opening.token_id, opening.timestamp, opening.hash)
    book.put("bid", "0.49", "61")
    second = proof.check(book, opening.market, opening.token_id, opening.timestamp, opening.hash)

    assert (first, second) == ("verified", "mismatch")
    assert proof.facts == _DEC_2025
    assert proof.check_whole(book, opening.market, opening.token_id, opening.timestamp, opening.hash) == "mismatch"
    assert proof.check(book, opening.market, opening.token_id, opening.timestamp, opening.hash) == "unverifiable"


def test_a_hash_that_was_never_reproduced_is_unverifiable_and_soon_no_longer_tried() -> None:
    [snapshot] = snapshots("netqo-2026-08-14", "book")
    book = book_of(snapshot)
    proof = Proof()
    proof.learn(last_trade_price="0.004")

    outcomes = {
        proof.check(book, snapshot.market, snapshot.token_id, snapshot.timestamp, f"{number:040x}")
        for number in range(20)
    }

    assert outcomes == {"unverifiable"}
    assert proof.failures < 20


def test_a_message_without_a_hash_is_unverifiable() -> None:
    assert Proof(facts=_DEC_2025, established=True).check(Book(), "m", "t", 1, "") == "unverifiable"


def test_an_announced_trade_price_proves_the_next_change() -> None:
    opening, _ = snapshots("polybot-2025-12-23", "opening books")
    change = price_change("polybot-2025-12-23", "price change")
    level = change.changes[0]
    book = book_of(opening)
    book.put("bid", level.price, level.size)
    proof = Proof(facts=_DEC_2025, tail=facts_text(_DEC_2025), established=True)

    proof.announced = "0.49"

    assert proof.check(book, change.market, level.token_id, change.timestamp, level.hash) == "verified"
    assert proof.facts.last_trade_price == "0.490"


@pytest.mark.parametrize(
    ("text", "hashed"),
    [("0.5", "0.500"), (".48", "0.480"), ("0.4975", "0.4975"), ("1", "1.000"), ("0.110", "0.110"), ("0", "0.000")],
)
def test_a_trade_price_is_hashed_with_at_least_three_decimals(text: str, hashed: str) -> None:
    assert trade_price_text(text) == hashed


def test_counts_are_added_one_by_one() -> None:
    counts = Counts(1, 2, 3, 4, 5, 6, 7)

    assert Counts.total([counts, Counts(hash_mismatch=10, snapshot_ok=20)]) == Counts(1, 2, 13, 4, 5, 26, 7)
    assert Counts.total([]) == Counts()
