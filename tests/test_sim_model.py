"""The simulated markets without a server: their messages agree with their books."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive._wire import decode, decode_book
from pmlive.book import Book
from pmlive.events import BookSnapshot, MarketResolved, PriceChange, TickSizeChange, Trade
from pmlive.integrity import Facts, book_hash
from pmlive.sim import HOSTILE_TITLE, SimulatedVenue, write_script
from pmlive.sim._exchange import MarketModel  # pyright: ignore[reportPrivateUsage]
from pmlive.sim._faults import FaultKind, Faults, MessageFaults  # pyright: ignore[reportPrivateUsage]
from pmlive.sim._markets import (  # pyright: ignore[reportPrivateUsage]
    Market,
    MarketMessage,  # pyright: ignore[reportPrivateUsage]
    markets,
    rolling_market,
)

seeds = st.integers(0, 10_000)
depths = st.integers(1, 60)


def model_of(seed: int, depth: int) -> MarketModel:
    return MarketModel(markets(3, seed=seed)[seed % 3], depth=depth, now=1_000)


class Client:
    """Keeps both books of a market from its messages alone."""

    def __init__(self, model: MarketModel) -> None:
        self.market = model.market
        self.books: dict[str, Book] = {}
        self.facts = Facts(str(self.market.min_order_size), None, self.market.neg_risk, None)
        for outcome in (0, 1):
            (event,) = decode("market", model.state.opening_book(outcome))
            assert isinstance(event, BookSnapshot)
            self.facts = msgspec.structs.replace(
                self.facts, tick_size=event.tick_size, last_trade_price=event.last_trade_price
            )
            self._take(event)

    def receive(self, messages: list[MarketMessage], model: MarketModel) -> None:
        # The venue moves its last trade price before it announces the trade.
        last_trade_price = decode_book(model.state.rest_book(0)).last_trade_price
        self.facts = msgspec.structs.replace(self.facts, last_trade_price=last_trade_price)
        for message in messages:
            for event in decode("market", message.text):
                match event:
                    case PriceChange():
                        self._change(event)
                    case BookSnapshot():
                        self._check_same(event)
                        self._take(event)
                    case TickSizeChange():
                        self.facts = msgspec.structs.replace(self.facts, tick_size=event.new_tick_size)
                    case _:
                        pass

    def _take(self, event: BookSnapshot) -> None:
        book = Book()
        book.replace(event)
        self.books[event.token_id] = book
        assert book_hash(book, event.market, event.token_id, event.timestamp, self.facts) == event.hash

    def _check_same(self, event: BookSnapshot) -> None:
        fresh = Book()
        fresh.replace(event)
        assert fresh.differences(self.books[event.token_id]) == 0

    def _change(self, event: PriceChange) -> None:
        assert {change.token_id for change in event.changes} == set(self.market.token_ids)
        for change in event.changes:
            side = "bid" if change.side == "BUY" else "ask"
            self.books[change.token_id].put(side, change.price, change.size)
        for change in event.changes:
            book = self.books[change.token_id]
            assert change.best_bid == (book.best_bid or 0)
            assert change.best_ask == (1 if book.best_ask is None else book.best_ask)
            assert change.hash == book_hash(book, event.market, change.token_id, event.timestamp, self.facts)


def stepped(seed: int, depth: int, steps: int) -> Iterator[tuple[MarketModel, list[MarketMessage]]]:
    model = model_of(seed, depth)
    for number in range(steps):
        yield model, model.step(1_000 + number // 3, progress=number / steps)


@given(seeds, depths, st.integers(1, 60))
def test_a_client_that_follows_the_messages_proves_every_hash_and_every_best_price(
    seed: int, depth: int, steps: int
) -> None:
    model = model_of(seed, depth)
    client = Client(model)
    for number in range(steps):
        client.receive(model.step(1_000 + number // 3, progress=number / steps), model)


@given(seeds, depths, st.integers(1, 80))
def test_the_two_outcomes_mirror_each_other_and_never_cross(seed: int, depth: int, steps: int) -> None:
    for model, _ in stepped(seed, depth, steps):
        yes, no = (decode_book(model.state.rest_book(outcome)) for outcome in (0, 1))
        mirrored = [(round(1 - float(level.price), 4), level.size) for level in no.asks]
        assert mirrored == [(float(level.price), level.size) for level in yes.bids]
        assert model.state.book.best_bid(0) < model.state.book.best_ask(0)


@given(seeds)
def test_levels_come_best_last_with_unpadded_prices(seed: int) -> None:
    for model, _ in stepped(seed, 30, 40):
        book = decode_book(model.state.rest_book(0))
        bids, asks = [level.price for level in book.bids], [level.price for level in book.asks]
        assert bids == sorted(bids, key=float)
        assert asks == sorted(asks, key=float, reverse=True)
        assert not [price for price in bids + asks if price.endswith("0") or not price.startswith("0.")]


@given(seeds)
def test_a_trade_comes_after_its_change_and_its_books_of_the_same_hash(seed: int) -> None:
    for _, messages in stepped(seed, 20, 60):
        kinds = [message.kind for message in messages if message.kind != "best_bid_ask"]
        if "last_trade_price" not in kinds:
            continue
        assert kinds == ["price_change", "book", "book", "last_trade_price"]
        (change,) = decode("market", messages[0].text)
        (trade,) = decode("market", messages[3].text)
        books = [event for message in messages[1:3] for event in decode("market", message.text)]
        assert isinstance(change, PriceChange)
        assert isinstance(trade, Trade)
        stated = {entry.token_id: entry.hash for entry in change.changes}
        assert {book.token_id: book.hash for book in books if isinstance(book, BookSnapshot)} == stated
        assert float(trade.size) > 0


@given(seeds, depths)
def test_times_of_a_market_never_go_back_even_when_the_clock_does(seed: int, depth: int) -> None:
    model, last = model_of(seed, depth), 0
    for now in (5_000, 4_000, 6_000, 100, 7_000):
        for message in model.step(now):
            (event,) = decode("market", message.text)
            assert (
                isinstance(event, PriceChange | BookSnapshot | Trade | TickSizeChange) or message.kind == "best_bid_ask"
            )
            stamp = int(msgspec.json.decode(message.text)["timestamp"])
            assert stamp >= last or message.kind == "book"
            last = max(last, stamp)


def test_a_price_past_96_cents_refines_the_grid_of_both_tokens() -> None:
    changes = [
        event
        for _, messages in stepped(4, 30, 6_000)
        for message in messages
        for event in decode("market", message.text)
        if isinstance(event, TickSizeChange)
    ]
    assert [(event.old_tick_size, event.new_tick_size) for event in changes] == [("0.01", "0.001")] * 2
    assert len({event.token_id for event in changes}) == 2


@given(seeds, depths, st.integers(0, 50))
def test_a_resolved_market_loses_every_level_and_names_its_winner(seed: int, depth: int, steps: int) -> None:
    model = model_of(seed, depth)
    client = Client(model)
    for number in range(steps):
        client.receive(model.step(2_000 + number), model)
    messages = model.resolve(9_000, winner=1)
    client.receive(messages, model)
    (resolved,) = decode("market", messages[-1].text)
    assert isinstance(resolved, MarketResolved)
    assert (resolved.winning_outcome, resolved.winning_token_id) == ("No", model.market.token_ids[1])
    assert all(book.best_bid is None and book.best_ask is None for book in client.books.values())
    assert (model.step(10_000), model.resolve(10_000)) == ([], [])


@given(seeds)
def test_a_market_near_its_end_is_all_but_decided(seed: int) -> None:
    model = model_of(seed, 10)
    for number in range(400):
        model.step(number, progress=number / 400)
    undecided = abs(model.probability - 0.5) < 0.2
    assert not undecided or abs(model._log_odds) < 0.3  # pyright: ignore[reportPrivateUsage] # noqa: SLF001


def test_the_same_seed_writes_the_same_script_and_another_seed_another() -> None:
    assert write_script(3, seed=1, messages=300) == write_script(3, seed=1, messages=300)
    assert write_script(3, seed=1, messages=300).markets != write_script(3, seed=2, messages=300).markets


def test_a_script_leads_from_its_opening_books_to_its_final_ones() -> None:
    script = write_script(4, seed=3, messages=2_000, depth=15)
    books: dict[str, Book] = {}
    for token, text in script.opening.items():
        books[token] = Book()
        books[token].replace(decode_book(text))
    for message in script.messages:
        for event in decode("market", message.text):
            if isinstance(event, PriceChange):
                for change in event.changes:
                    books[change.token_id].put("bid" if change.side == "BUY" else "ask", change.price, change.size)
    for token, text in script.final.items():
        final = Book()
        final.replace(decode_book(text))
        assert final.differences(books[token]) == 0


def test_five_thousand_markets_have_ten_thousand_tokens() -> None:
    made = markets(5_000, seed=1)
    assert len({token for market in made for token in market.token_ids}) == 10_000
    assert len({market.slug for market in made}) == 5_000


def test_hostile_titles_are_made_on_request_only() -> None:
    assert HOSTILE_TITLE in [market.question for market in markets(3, seed=1, titles="hostile")]
    assert HOSTILE_TITLE not in [market.question for market in markets(3, seed=1)]
    assert [market.question for market in SimulatedVenue(markets=1, hostile_titles=True).markets] == [HOSTILE_TITLE]


def test_a_rolling_slug_names_a_market_only_on_a_multiple_of_its_length() -> None:
    market = rolling_market("eth-updown-4s-1790000000", seed=1)
    assert isinstance(market, Market)
    assert (market.start, market.end) == (1_790_000_000, 1_790_000_004)
    assert rolling_market("eth-updown-4s-1790000001", seed=1) is None
    assert rolling_market("eth-updown-0s-1790000000", seed=1) is None
    assert rolling_market("../etc/passwd", seed=1) is None


def one_change(message_faults: MessageFaults, model: MarketModel) -> tuple[MarketMessage, list[MarketMessage]]:
    """Step until a change comes alone; return it and what was sent of it."""
    while True:
        messages = [message for message in model.step(1) if message.kind != "best_bid_ask"]
        if [message.kind for message in messages] == ["price_change"]:
            return messages[0], message_faults.apply(messages)


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("lie", ""),
        ("lie_best", ""),
        ("cross", ""),
        *(("garbage", word) for word in ("json", "element", "nan", "negative", "above one", "negative size")),
        *(
            ("garbage", word)
            for word in ("utf8", "deep", "nul", "empty", "kind", "renamed", "unnamed", "missing", "torn")
        ),
    ],
)
def test_a_change_is_corrupted_once(kind: FaultKind, detail: str) -> None:
    faults, model = Faults(), model_of(1, 10)
    message_faults = MessageFaults(faults)
    fault = faults.add(kind, detail=detail)
    true, sent = one_change(message_faults, model)
    assert len(sent) == 1
    assert sent[0].text != true.text
    true, sent = one_change(message_faults, model)
    assert sent == [true]
    assert fault.count == 1


def test_a_trade_can_be_repeated_while_changes_are_not() -> None:
    faults, model = Faults(), model_of(1, 10)
    message_faults = MessageFaults(faults)
    fault = faults.add("duplicate", detail="trade", times=1)
    sent = list[MarketMessage]()
    while not fault.count:
        sent = message_faults.apply(model.step(1))
    trades = [message for message in sent if message.kind == "last_trade_price"]
    assert len(trades) == 2
    assert trades[0] == trades[1]
    assert len({message.text for message in sent}) == len(sent) - 1


def test_a_change_in_a_binary_frame_has_the_same_text() -> None:
    faults, model = Faults(), model_of(1, 10)
    faults.add("garbage", detail="binary")
    true, (sent,) = one_change(MessageFaults(faults), model)
    assert sent.text == true.text
    assert sent.binary


def test_a_skipped_change_is_kept_for_the_audit_and_a_duplicate_comes_twice() -> None:
    faults, model = Faults(), model_of(1, 10)
    message_faults = MessageFaults(faults)
    faults.add("skip")
    true, sent = one_change(message_faults, model)
    assert (sent, message_faults.withheld) == ([], [true])
    faults.add("duplicate")
    true, sent = one_change(message_faults, model)
    assert sent == [true, true]


def test_a_reordered_change_comes_after_the_next_one() -> None:
    faults, model = Faults(), model_of(1, 10)
    message_faults = MessageFaults(faults)
    faults.add("reorder")
    first, sent = one_change(message_faults, model)
    assert sent == []
    second, sent = one_change(message_faults, model)
    assert sent == [second, first]


def test_the_other_token_of_a_silent_one_is_still_sent() -> None:
    faults, model = Faults(), model_of(1, 10)
    message_faults = MessageFaults(faults)
    faults.add("silent", token_id=model.market.token_ids[0])
    _, sent = one_change(message_faults, model)
    (event,) = decode("market", sent[0].text)
    assert isinstance(event, PriceChange)
    assert {change.token_id for change in event.changes} == {model.market.token_ids[1]}
    books = [message for message in model.state.books() for message in message_faults.apply([message])]
    assert [message.tokens for message in books] == [(model.market.token_ids[1],)]


def test_a_fault_of_some_seconds_ends_by_the_clock() -> None:
    now = [0.0]
    faults = Faults(clock=lambda: now[0])
    faults.add("stall", seconds=2.0)
    assert faults.strike("stall", "market") is not None
    now[0] = 2.0
    assert faults.strike("stall", "market") is None
    assert [fault.count for fault in faults] == [1]
