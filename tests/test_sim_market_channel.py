"""The simulated market channel over real sockets, read by the `websockets` client."""

import contextlib
import gc
import socket
import time
from collections.abc import Callable, Generator
from urllib.parse import urlsplit

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from pmlive._wire import decode, decode_book, subscribe_market, unsubscribe_market
from pmlive.book import Book
from pmlive.events import BestBidAsk, BookSnapshot, Control, Event, MarketResolved, NewMarket, PriceChange
from pmlive.sim import FaultKind, Limits, Market, SimulatedVenue, write_script

_PATIENCE = 60.0


@contextlib.contextmanager
def client(venue: SimulatedVenue, *tokens: str, flag: bool = True) -> Generator[ClientConnection]:
    with connect(venue.urls.clob_ws + "/market", compression=None, ping_interval=None, close_timeout=0.2) as socket:
        if tokens:
            socket.send(subscribe_market(tokens, first=True).replace("true", str(flag).lower(), 1))
        yield socket


def events_until(socket: ClientConnection, wanted: Callable[[list[Event]], bool]) -> list[Event]:
    """Receive events until they are what is wanted."""
    events: list[Event] = []
    end = time.monotonic() + _PATIENCE
    while not wanted(events):
        events += decode("market", str(socket.recv(timeout=end - time.monotonic())))
    return events


def closing(socket: ClientConnection) -> ConnectionClosed:
    try:
        while True:
            socket.recv(timeout=_PATIENCE)
    except ConnectionClosed as closed:
        return closed


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def tokens_of(venue: SimulatedVenue) -> list[str]:
    return [token for market in venue.markets for token in market.token_ids]


def test_the_opening_books_come_in_one_array_with_a_line_end_and_leave_out_unknown_tokens() -> None:
    with SimulatedVenue(rate=0) as venue, client(venue, *tokens_of(venue), "12345") as socket:
        text = str(socket.recv(timeout=_PATIENCE))
        books = decode("market", text)
        assert (text[0], text[-2:]) == ("[", "]\n")
        assert all(isinstance(book, BookSnapshot) and book.tick_size for book in books)
        assert {book.token_id for book in books if isinstance(book, BookSnapshot)} == set(tokens_of(venue))


def test_unknown_tokens_alone_get_an_empty_array() -> None:
    with SimulatedVenue(rate=0) as venue, client(venue, "12345") as socket:
        assert socket.recv(timeout=_PATIENCE) == "[]\n"


@pytest.mark.parametrize(
    "first", ["PING", "{}", '{"type":"user"}', '{"type":"market"}', "[1]", '{"operation":"subscribe"}']
)
def test_a_bad_first_frame_is_closed_with_1008(first: str) -> None:
    with SimulatedVenue(rate=0) as venue, client(venue) as socket:
        socket.send(first)
        close = closing(socket)
        assert close.rcvd is not None
        assert (close.rcvd.code, close.rcvd.reason) == (1008, "invalid subscription payload")


def test_the_type_may_be_written_in_capitals_and_initial_dump_false_is_respected() -> None:
    with SimulatedVenue(rate=0) as venue, client(venue) as socket:
        frame = {"type": "MARKET", "assets_ids": tokens_of(venue), "initial_dump": False}
        socket.send(msgspec.json.encode(frame).decode())
        socket.send("PING")
        assert socket.recv(timeout=_PATIENCE) == "PONG"


def test_only_tokens_that_are_new_to_a_connection_get_an_opening_book() -> None:
    with SimulatedVenue(rate=0) as venue:
        first, second, *_ = tokens_of(venue)
        with client(venue, first) as socket:
            events_until(socket, lambda events: len(events) == 1)
            socket.send(subscribe_market([first], first=False))
            socket.send(subscribe_market([first, second], first=False))
            (book,) = events_until(socket, lambda events: len(events) == 1)
            assert isinstance(book, BookSnapshot)
            assert book.token_id == second
            socket.send("PING")
            assert socket.recv(timeout=_PATIENCE) == "PONG"


def test_one_token_brings_the_changes_of_both_and_unsubscribing_ends_them() -> None:
    with SimulatedVenue(markets=1, rate=0) as venue:
        first, second = tokens_of(venue)
        with client(venue, first, flag=False) as socket:
            socket.recv(timeout=_PATIENCE)
            venue.step(40)
            events = events_until(socket, lambda events: any(isinstance(event, PriceChange) for event in events))
            changed = {entry.token_id for event in events if isinstance(event, PriceChange) for entry in event.changes}
            assert changed == {first, second}
            socket.send(unsubscribe_market([first]))
            until(lambda: venue.connections[0].tokens == frozenset())


def test_a_client_follows_every_book_to_the_venues_own() -> None:
    with SimulatedVenue(rate=0, depth=40, keep_truth=True) as venue, client(venue, *tokens_of(venue)) as socket:
        books: dict[str, Book] = {}
        socket_frames = [str(socket.recv(timeout=_PATIENCE))]
        venue.step(300)
        truth = venue.delivered[venue.connections[0].id]
        socket_frames += [str(socket.recv(timeout=_PATIENCE)) for _ in range(len(truth) - 1)]
        assert socket_frames == list(truth)
        for event in (event for frame in socket_frames for event in decode("market", frame)):
            if isinstance(event, BookSnapshot):
                books[event.token_id] = Book()
                books[event.token_id].replace(event)
            elif isinstance(event, PriceChange):
                for change in event.changes:
                    books[change.token_id].put("bid" if change.side == "BUY" else "ask", change.price, change.size)
        for token, book in books.items():
            true = Book()
            true.replace(decode_book(venue.book(token)))
            assert true.differences(book) == 0


@pytest.mark.parametrize("flag", [True, False])
def test_only_flagged_connections_get_best_prices_new_markets_and_resolutions(*, flag: bool) -> None:
    with SimulatedVenue(markets=1, rate=0) as venue, client(venue, *tokens_of(venue), flag=flag) as socket:
        socket.recv(timeout=_PATIENCE)
        venue.step(200)
        assert venue.market(f"btc-updown-1h-{int(time.time()) // 3600 * 3600}") is not None
        venue.resolve(venue.markets[0], winner="No")
        time.sleep(0.05)
        socket.send("PING")
        events = events_until(socket, lambda events: events[-1:] == [Control("PONG")])
        for gated in (BestBidAsk, MarketResolved, NewMarket):
            assert any(isinstance(event, gated) for event in events) == flag


def test_a_settled_market_has_no_book_any_more() -> None:
    with SimulatedVenue(markets=1, rate=0) as venue:
        venue.resolve(venue.markets[0])
        with client(venue, *tokens_of(venue)) as socket:
            assert socket.recv(timeout=_PATIENCE) == "[]\n"


def test_a_rolling_market_trades_ends_and_is_resolved() -> None:
    with SimulatedVenue(markets=1, rate=200, resolve_after=0.2) as venue:
        start = int(time.time()) // 2 * 2
        market = venue.market(f"btc-updown-2s-{start}")
        assert isinstance(market, Market)
        with client(venue, *market.token_ids) as socket:
            events = events_until(socket, lambda events: any(isinstance(event, MarketResolved) for event in events))
        resolved = events[-1]
        assert isinstance(resolved, MarketResolved)
        assert resolved.winning_outcome in ("Up", "Down")
        assert resolved.timestamp >= (start + 2) * 1000
        last = [event for event in events if isinstance(event, PriceChange)][-1]
        assert {(change.size, change.best_bid, change.best_ask) for change in last.changes} == {("0", 0, 1)}


def test_past_the_opening_limit_there_are_changes_but_no_books() -> None:
    limits = Limits(opening_limit=2)
    with SimulatedVenue(rate=0, limits=limits) as venue, client(venue, *tokens_of(venue), flag=False) as socket:
        until(lambda: bool(venue.connections and venue.connections[0].tokens))
        venue.step(20)
        event = events_until(socket, lambda events: len(events) > 0)[0]
        assert isinstance(event, PriceChange)


def test_an_idle_connection_is_cut_without_a_close_frame_and_a_ping_keeps_it() -> None:
    with (
        SimulatedVenue(rate=0, limits=Limits(idle=0.5)) as venue,
        client(venue, *tokens_of(venue)) as idle,
        client(venue, *tokens_of(venue)) as lively,
    ):
        until(lambda: not lively.send("PING") and len(venue.connections) == 1)
        assert closing(idle).rcvd is None


def test_too_many_ids_in_one_frame_close_the_connection() -> None:
    with SimulatedVenue(rate=0) as venue, client(venue, *map(str, range(2_001))) as socket:
        assert closing(socket).rcvd is not None


def test_a_slow_reader_is_closed_with_a_reason() -> None:
    with SimulatedVenue(markets=1, rate=0, limits=Limits(send_buffer=100_000)) as venue:
        with connect(venue.urls.clob_ws + "/market", compression=None, max_queue=1, ping_interval=None) as socket:
            socket.send(subscribe_market(tokens_of(venue), first=True))
            until(lambda: venue.step(500) > 0 and not venue.connections)
            close = closing(socket)
        assert close.rcvd is not None
        assert (close.rcvd.code, close.rcvd.reason) == (1013, "slow consumer: send buffer full")


@pytest.mark.parametrize("path", ["/", "", "/nothing"])
def test_a_path_without_a_channel_is_404(path: str) -> None:
    with SimulatedVenue(rate=0) as venue, pytest.raises(InvalidStatus) as caught, connect(venue.urls.clob_ws + path):
        pass
    assert caught.value.response.status_code == 404


def test_a_dropped_connection_has_no_close_frame_and_a_closed_one_its_code() -> None:
    with SimulatedVenue(rate=0) as venue:
        with client(venue, *tokens_of(venue)) as socket:
            socket.recv(timeout=_PATIENCE)
            assert venue.fault("drop").count == 1
            assert closing(socket).rcvd is None
        with client(venue, *tokens_of(venue)) as socket:
            socket.recv(timeout=_PATIENCE)
            venue.fault("close", number=1011, detail="try later")
            close = closing(socket).rcvd
            assert close is not None
            assert (close.code, close.reason) == (1011, "try later")
        assert [dial.status for dial in venue.dials] == [101, 101]


@pytest.mark.parametrize("manner", ["fin", "reset", "half frame"])
def test_a_connection_can_be_cut_in_each_manner_of_tcp(manner: str) -> None:
    with SimulatedVenue(rate=0) as venue, client(venue, *tokens_of(venue)) as socket:
        socket.recv(timeout=_PATIENCE)
        assert venue.fault("drop", detail=manner).count == 1
        closed = closing(socket)
    assert closed.rcvd is None
    assert isinstance(closed.__cause__, ConnectionResetError) is (manner == "reset")


def test_a_handshake_can_be_refused_with_a_status_that_only_proxies_have() -> None:
    with SimulatedVenue(rate=0) as venue:
        venue.fault("refuse", channel="market", number=520, detail="9", times=1)
        with pytest.raises(InvalidStatus) as caught, client(venue):
            pass
    assert caught.value.response.status_code == 520
    assert caught.value.response.headers["Retry-After"] == "9"


def test_a_handshake_can_be_sent_elsewhere() -> None:
    with SimulatedVenue(rate=0) as venue:
        venue.fault("refuse", channel="market", number=302, detail="/ws/market", times=1)
        with client(venue, *tokens_of(venue)) as socket:
            assert str(socket.recv(timeout=_PATIENCE)).startswith("[")
        assert [dial.status for dial in venue.dials] == [302, 101]


def test_a_handshake_can_be_answered_without_http() -> None:
    with SimulatedVenue(rate=0) as venue:
        venue.fault("no_http", channel="market", detail="SSH-2.0-venue\r\n", times=1)
        with pytest.raises(InvalidMessage), client(venue):
            pass
        with client(venue, *tokens_of(venue)) as socket:
            assert str(socket.recv(timeout=_PATIENCE)).startswith("[")


def test_a_dead_network_answers_nothing_and_delivers_all_of_it_later() -> None:
    with SimulatedVenue(markets=1, rate=0) as venue, client(venue, *tokens_of(venue), flag=False) as socket:
        socket.recv(timeout=_PATIENCE)
        fault = venue.fault("dead", channel="market")
        socket.send("PING")
        venue.step(1)
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.2)
        fault.clear()
        assert events_until(socket, lambda events: any(isinstance(event, PriceChange) for event in events))


def test_an_opening_array_can_be_too_big_to_receive() -> None:
    with SimulatedVenue(markets=1, rate=0) as venue:
        fault = venue.fault("giant")
        with client(venue, *tokens_of(venue)) as socket:
            assert closing(socket).sent is not None
        assert fault.count == 1
        with client(venue, tokens_of(venue)[0]) as socket:
            assert str(socket.recv(timeout=_PATIENCE)).startswith("[")
        assert fault.count == 1


def test_a_dropped_subscription_can_be_made_again() -> None:
    with SimulatedVenue(markets=1, rate=0) as venue:
        tokens = tokens_of(venue)
        with client(venue, *tokens) as socket:
            socket.recv(timeout=_PATIENCE)
            assert venue.fault("forget").count == 2
            venue.step(20)
            socket.send(subscribe_market(tokens, first=False))
            assert str(socket.recv(timeout=_PATIENCE)).startswith("[")


def test_a_close_fault_can_also_close_later_connections() -> None:
    with SimulatedVenue(rate=0) as venue:
        fault = venue.fault("close", times=2)
        for _ in range(2):
            with client(venue) as socket:
                close = closing(socket).rcvd
                assert close is not None
                assert close.code == 1012
        with client(venue, *tokens_of(venue)) as socket:
            assert str(socket.recv(timeout=_PATIENCE)).startswith("[")
        assert fault.count == 2


def test_a_stalled_connection_still_answers_pings() -> None:
    with SimulatedVenue(rate=0) as venue, client(venue, *tokens_of(venue)) as socket:
        socket.recv(timeout=_PATIENCE)
        fault = venue.fault("stall", channel="market")
        venue.step(50)
        socket.send("PING")
        assert socket.recv(timeout=_PATIENCE) == "PONG"
        assert fault.count >= 50
        venue.clear_faults()
        venue.step(5)
        assert str(socket.recv(timeout=_PATIENCE)).startswith("{")


def test_a_refused_handshake_states_when_to_retry() -> None:
    with SimulatedVenue(rate=0) as venue:
        venue.fault("refuse", channel="market", times=1, detail="7")
        with pytest.raises(InvalidStatus) as caught, client(venue):
            pass
        assert caught.value.response.status_code == 429
        assert caught.value.response.headers["Retry-After"] == "7"
        with client(venue, *tokens_of(venue)) as socket:
            assert str(socket.recv(timeout=_PATIENCE)).startswith("[")


def test_a_slow_venue_sends_byte_by_byte_and_breaks_no_frame() -> None:
    with SimulatedVenue(markets=1, rate=0, depth=3) as venue, client(venue, *tokens_of(venue), flag=False) as socket:
        socket.recv(timeout=_PATIENCE)
        venue.fault("slow", number=5_000, seconds=0.3)
        sent = venue.step(20)
        socket.ping()
        events = events_until(socket, lambda events: any(isinstance(event, PriceChange) for event in events))
        assert sent >= 20
        assert events


@pytest.mark.parametrize("kind", ["no_opening", "silent"])
def test_a_token_may_get_no_opening_book(kind: FaultKind) -> None:
    with SimulatedVenue(rate=0) as venue:
        first, *rest = tokens_of(venue)
        venue.fault(kind, token_id=first)
        with client(venue, first, *rest) as socket:
            books = events_until(socket, lambda events: len(events) > 0)
            assert {book.token_id for book in books if isinstance(book, BookSnapshot)} == set(rest)


def test_a_script_reaches_every_subscriber_whole_and_in_order() -> None:
    script = write_script(5, seed=2, messages=3_000, depth=5)
    with SimulatedVenue(rate=None, script=script) as venue:
        for _ in range(2):
            with client(venue, *tokens_of(venue)) as socket:
                assert len(decode("market", str(socket.recv(timeout=_PATIENCE)))) == 10
                texts = [socket.recv(timeout=_PATIENCE) for _ in script.messages]
            assert texts == [message.text for message in script.messages]


def test_the_same_seed_sends_the_same_messages_except_for_their_times() -> None:
    def texts(seed: int) -> list[str]:
        venue = SimulatedVenue(rate=0, seed=seed, keep_truth=True, clock=lambda: 1_790_000_000_000)
        with venue, client(venue, *tokens_of(venue)) as socket:
            socket.recv(timeout=_PATIENCE)
            venue.step(200)
            return list(venue.delivered[venue.connections[0].id])

    assert texts(5) == texts(5)
    assert texts(5) != texts(6)


def test_a_venue_can_be_stopped_and_started_again_and_a_taken_port_is_an_error() -> None:
    venue = SimulatedVenue(rate=0)
    for _ in range(2):
        with venue, client(venue, *tokens_of(venue)) as socket:
            assert str(socket.recv(timeout=_PATIENCE)).startswith("[")
    with venue:
        port = int(venue.urls.clob_ws.split(":")[2].split("/")[0])
        with pytest.raises(OSError, match="address"), SimulatedVenue(rate=0, port=port):
            pass


def test_a_venue_that_stops_closes_what_connected_in_its_last_moment() -> None:
    """A socket that stays open would raise a ResourceWarning, which is an error here."""
    for _ in range(20):
        with SimulatedVenue(markets=1, rate=0) as venue:
            ports = [port for url in venue.environment().values() if (port := urlsplit(url).port) is not None]
            connected = [socket.create_connection(("127.0.0.1", port)) for port in ports]
        for each in connected:
            each.close()
    gc.collect()
