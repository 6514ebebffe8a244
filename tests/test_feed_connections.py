"""What ends a connection, what it is a sign of, and what is asked for anew, against scripted servers on loopback."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from itertools import pairwise

import pytest
from support.feed import PROMPT, QUICK, Notes, pooled, times
from support.waiting import until, wait_until
from support.ws import Peer, SocketServer, books, serving_sockets

from pmlive.events import BookSnapshot, Cause, Event, Malformed
from pmlive.feed import FeedConnection, Pool

Ending = Callable[[Peer], Coroutine[object, object, None]]


async def answering(peer: Peer) -> None:
    await peer.answer()


async def reset(peer: Peer) -> None:
    peer.reset()


async def half_a_frame(peer: Peer) -> None:
    peer.half_frame()


async def no_close_frame(peer: Peer) -> None:
    peer.raw(b"")
    peer._connection.transport.close()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a FIN and no word


async def bad_utf8(peer: Peer) -> None:
    peer.raw(b"\x81\x02\xff\xfe")
    await peer.gone()


async def bad_opcode(peer: Peer) -> None:
    peer.raw(b"\x83\x00")
    await peer.gone()


def closing(code: int) -> Ending:
    async def close(peer: Peer) -> None:
        await peer.close(code, "reason")

    return close


ENDINGS: dict[str, Ending] = {
    "close 1000": closing(1000),
    "close 1001": closing(1001),
    "close 1008": closing(1008),
    "close 1011": closing(1011),
    "close 1012": closing(1012),
    "close 1013": closing(1013),
    "close 4003": closing(4003),
    "RST": reset,
    "half a frame": half_a_frame,
    "FIN": no_close_frame,
}


def ending_once(ending: Ending) -> Ending:
    """Answer the first client with its books and this ending, and the others as the venue does."""

    async def script(peer: Peer) -> None:
        if peer.number > 0:
            await peer.answer()
            return
        frame = json.loads(await peer.receive())
        await peer.send(books(frame["assets_ids"]))
        await ending(peer)

    return script


@pytest.mark.parametrize("name", ENDINGS)
def test_every_end_that_we_did_not_mean_is_a_gap(name: str) -> None:
    """A clean close ends the library's iterator without a word, and loses as much as a cut."""

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1", "2"])
            await until(lambda: notes.count("opened") == 2 and len(notes.frames) >= 2)

    notes = Notes()
    with serving_sockets(ending_once(ENDINGS[name])) as server:
        asyncio.run(watch())

    (channel, cause, detail), (_, meant, _) = notes.causes
    assert (channel, cause) == ("market", "disconnect")
    assert detail
    assert meant is None
    assert notes.at["closed"][0] - notes.at["opened"][0] < 2
    assert len(set(notes.epochs)) == 2
    assert json.loads(server.heard[1][0])["assets_ids"] == ["1", "2"]
    # Of half a frame nothing is read.
    assert not [event for event in notes.events if isinstance(event, Malformed)]


@pytest.mark.parametrize("ending", [bad_utf8, bad_opcode])
def test_a_broken_frame_ends_the_connection_or_is_counted(ending: Ending) -> None:
    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(
                lambda: notes.count("opened") == 2 or any(isinstance(event, Malformed) for event in notes.events)
            )

    notes = Notes()
    with serving_sockets(ending_once(ending)) as server:
        asyncio.run(watch())


def test_binary_frames_are_read_as_text_ones() -> None:
    async def binary(peer: Peer) -> None:
        frame = json.loads(await peer.receive())
        text = books(frame["assets_ids"]).encode()
        peer.raw(b"\x82\x7e" + len(text).to_bytes(2, "big") + text)
        await peer.gone()

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books == {"1"})

    notes = Notes()
    with serving_sockets(binary) as server:
        asyncio.run(watch())


def test_a_frame_of_several_megabytes_is_read() -> None:
    """500 books of 80 levels are 1.7 MB, which the library refuses by default (reliability.md, 1.4)."""
    tokens = [f"{number:077d}" for number in range(200)]

    async def big(peer: Peer) -> None:
        while len(json.loads(await peer.receive())["assets_ids"]) == 100 and len(peer.heard) < 2:
            pass
        levels = [{"price": f"0.{number:04d}", "size": "1234567.89"} for number in range(1, 1000)]
        book = json.loads(books(["1"]))[0] | {"bids": levels}
        await peer.send(json.dumps([book | {"asset_id": token} for token in tokens]))
        await peer.gone()

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", tokens)
            await until(lambda: len(notes.books) == 200)

    notes = Notes()
    with serving_sockets(big) as server:
        asyncio.run(watch())

    assert len(notes.frames[0]) > 4 * 1024 * 1024
    assert notes.causes == [("market", None, "closed by us")]


def test_a_frame_that_is_too_big_is_told_of() -> None:
    async def too_big(peer: Peer) -> None:
        if peer.number == 0:
            await peer.receive()
            peer.raw(b"\x81\x7f" + (17 * 1024 * 1024).to_bytes(8, "big") + b"[")
            await peer.gone()
        await peer.answer()

    class Halving(Notes):
        """A sink that does as the live feed does."""

        pools: list[Pool]

        def closed(self, connection: FeedConnection, cause: Cause | None, detail: str, now: int) -> None:
            super().closed(connection, cause, detail, now)
            if cause is not None:
                assert connection.too_big
                assert self.pools[0].halve(connection) == {}

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            notes.pools = [pool]
            pool.want("market", [str(number) for number in range(10)])
            await until(lambda: len(notes.books) == 10)
            assert [len(each.session.wanted) for each in pool.connections] == [5, 5]
            assert not any(each.too_big for each in pool.connections)

    notes = Halving()
    with serving_sockets(too_big) as server:
        asyncio.run(watch())

    assert len(server.heard) == 3


# --- nobody there ---


async def mute(peer: Peer) -> None:
    """Send the books and then nothing at all: no answer to a ping."""
    await peer.answer(pong=peer.number > 0)


def test_a_server_that_answers_no_ping_is_left_for_another_connection() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes, timing=times(ping=0.1, answer=0.2, opening=5, silence=60)) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.count("opened") == 2, 5)

    notes = Notes()
    with serving_sockets(mute) as server:
        asyncio.run(watch())

    (_, cause, detail), _ = notes.causes
    assert cause == "silence"
    assert "ping" in detail
    assert notes.at["closed"][0] - notes.at["opened"][0] >= 0.3


def test_a_half_open_connection_is_left_though_its_end_cannot_be_said_goodbye_to() -> None:
    """The books come and then nothing, while what we send goes nowhere; the close handshake is not waited for."""
    timing = times(ping=5, quiet=0.2, answer=0.3, opening=5, silence=60)

    async def watch() -> None:
        async with pooled(server.url, notes, timing=timing) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)
            heard = time.monotonic()
            await until(lambda: notes.count("closed"))
            waited.append(notes.at["closed"][0] - heard)
            await until(lambda: notes.count("opened") == 2)

    async def stuck(peer: Peer) -> None:
        if peer.number > 0:
            await peer.answer()
        await peer.send(books(json.loads(await peer.receive())["assets_ids"]))
        peer._connection.transport.pause_reading()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        await asyncio.sleep(30)

    notes, waited = Notes(), list[float]()
    with serving_sockets(stuck) as server:
        asyncio.run(watch())

    (_, cause, detail), _ = notes.causes
    assert cause == "silence"
    assert "not even an answer to a ping" in detail
    assert waited[0] >= 0.4


def test_a_frame_that_comes_in_small_pieces_over_a_slow_line_is_no_silence() -> None:
    """No whole frame comes for long, and every byte says that somebody is there."""
    text = books(["1"]).encode()

    async def slow(peer: Peer) -> None:
        await peer.receive()
        peer.raw(b"\x81\x7e" + len(text).to_bytes(2, "big"))
        for at in range(0, len(text), 2):
            peer.raw(text[at : at + 2])
            await asyncio.sleep(0.05)
        await peer.answer()

    async def watch() -> None:
        timing = times(ping=0.1, quiet=0.1, answer=0.9, opening=20, silence=60)
        async with pooled(server.url, notes, timing=timing) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)

    notes = Notes()
    with serving_sockets(slow) as server:
        asyncio.run(watch())

    assert len(text) / 2 * 0.05 > 4 * (0.1 + 0.9)
    assert notes.causes == [("market", None, "closed by us")]


def test_a_socket_that_only_answers_pings_is_doubted_and_left_on_a_witness() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes, timing=PROMPT) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.count("witness") == 1)
            assert notes.count("closed") == 0
            pool.connections[0].give_up("REST has newer books")
            await until(lambda: notes.count("opened") == 2)

    notes = Notes()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    assert notes.causes[0] == ("market", "silence", "REST has newer books")


def test_a_calm_market_raises_no_gap() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes, timing=PROMPT) as pool:
            pool.want("market", ["1"])
            for count in range(1, 4):
                await until(lambda count=count: notes.count("witness") == count)
                pool.connections[0].session.witnessed(time.time_ns())

    notes = Notes()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    assert notes.causes == [("market", None, "closed by us")]
    assert notes.count("late") == 0


def test_a_token_without_opening_book_is_asked_for_again_then_reported_and_fetched() -> None:
    async def without(peer: Peer) -> None:
        await peer.answer(without=frozenset("2"))

    async def watch() -> None:
        async with pooled(server.url, notes, timing=times(ping=0.05, answer=2, opening=0.15, silence=60)) as pool:
            pool.want("market", ["1", "2"])
            await until(lambda: notes.count("fetch") >= 2)
            pool.connections[0].session.booked("2")

    notes = Notes()
    with serving_sockets(without) as server:
        asyncio.run(watch())

    late = [detail for what, _, detail in notes.said if what == "late"]
    assert len(late) == 1
    assert next(detail for what, _, detail in notes.said if what == "fetch") == ["2"]
    operations = [json.loads(text).get("operation") for text in server.texts if text != "PING"]
    assert operations == [None, "unsubscribe", "subscribe"]


# --- each channel by itself ---


def test_the_realtime_socket_may_fail_without_the_others() -> None:
    async def refuse(peer: Peer) -> None:
        peer.reset()

    async def watch() -> None:
        async with pooled(server.url, notes, realtime=broken.url) as pool:
            pool.want("market", ["1"])
            pool.want("realtime", ["activity|fed"])
            await until(lambda: len(broken.dials) >= 5)
            assert pool.of("market")[0].connected
            assert not any("realtime" in str(channel) for channel, _, _ in notes.causes if channel == "market")

    notes = Notes()
    with serving_sockets(answering) as server, serving_sockets(refuse) as broken:
        asyncio.run(watch())

    assert notes.count("opened", "market") == 1
    assert notes.count("closed", "market") == 1
    assert notes.count("opened", "realtime") >= 4


def test_channels_that_carry_no_books_are_pinged_too() -> None:
    async def watch() -> None:
        async with pooled(server.url, Notes(), timing=times(ping=0.03, answer=2, silence=60)) as pool:
            pool.want("realtime", ["activity|fed"])
            pool.want("prices", ["price.crypto|btcusd"])
            pool.want_everything("user")
            await until(lambda: sum("PING" in text or '"ping"' in text for text in server.texts) >= 9)

    with serving_sockets(answering) as server:
        asyncio.run(watch())


# --- subscriptions while running ---


def placed_by(server: SocketServer) -> list[set[str]]:
    """Work out what each connection is subscribed to, from the frames it sent."""
    served: list[set[str]] = []
    for heard in server.heard:
        wanted: set[str] = set()
        for text in heard:
            if text == "PING":
                continue
            frame = json.loads(text)
            names = set(frame["assets_ids"])
            wanted = wanted - names if frame.get("operation") == "unsubscribe" else wanted | names
        served.append(wanted)
    return served


def test_tokens_are_spread_over_connections() -> None:
    tokens = [str(number) for number in range(450)]

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", tokens)
            await until(lambda: notes.books == set(tokens))
            assert sorted(len(connection.session.wanted) for connection in pool.connections) == [50, 200, 200]

    notes = Notes()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    assert sorted(map(len, placed_by(server))) == [50, 200, 200]
    assert set[str]().union(*placed_by(server)) == set(tokens)
    assert all(len(json.loads(text)["assets_ids"]) <= 100 for text in server.texts)


def test_subscriptions_change_while_the_socket_is_open() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            assert pool.want("market", ["1", "2"]) == {}
            await until(lambda: notes.books == {"1", "2"})
            placed = pool.want("market", ["2", "3"])
            left = pool.unwant("market", ["1", "7"])
            assert placed == {notes.epochs[0]: ["3"]}
            assert left == {notes.epochs[0]: ["1"]}
            await until(lambda: notes.books == {"1", "2", "3"} and placed_by(server) == [{"2", "3"}])

    notes = Notes()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    assert notes.count("opened") == 1


def test_a_connection_without_tokens_ends_and_its_end_is_meant() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)
            pool.unwant("market", ["1"])
            await until(lambda: notes.count("closed") == 1 and server.here == 0)
            assert pool.connections == []
            pool.want("market", ["1"])
            await until(lambda: notes.count("opened") == 2)

    notes = Notes()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    assert [cause for _, cause, _ in notes.causes] == [None, None]


def test_a_connection_that_is_taken_back_while_it_is_down_is_told_to_have_ended() -> None:
    """Found by reading: its gap stayed open for ever, though nobody wanted it any more."""

    async def once(peer: Peer) -> None:
        await peer.receive()
        await peer.close(1012)

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: pool.connections[0].errors >= 2)
            epoch = notes.epochs[0]
            assert pool.unwant("market", ["1"]) == {epoch: ["1"]}
            await until(lambda: notes.count("closed") == 2)

    notes = Notes()
    with serving_sockets(once, admit=lambda number: (503, {}) if number > 0 else None) as server:
        asyncio.run(watch())

    assert [cause for _, cause, _ in notes.causes] == ["disconnect", None]


def test_a_user_connection_is_widened_to_every_market() -> None:
    """Found by reading: the wish was noted and never sent."""

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("user", ["0xa"])
            await until(lambda: server.texts)
            pool.want_everything("user")
            await until(lambda: len(server.heard) == 2 and server.heard[1])
            pool.want_everything("user")
            pool.want("user", ["0xb"])
            await until(lambda: pool.connections[0].connected)

    notes = Notes()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    first, second = (json.loads(text) for text in server.texts)
    assert first["markets"] == ["0xa"]
    assert "markets" not in second
    assert [cause for _, cause, _ in notes.causes] == ["disconnect", None]


# --- the end ---


MOMENTS: dict[str, Ending | None] = {
    "nobody answers": None,
    "accepts": answering,
    "closes": closing(1000),
    "resets": reset,
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("delay", [0, 0.001, 0.01, 0.05, 0.2])
def test_a_stop_at_any_moment_leaves_nothing(moment: str, delay: float) -> None:
    """What is left of tasks is looked for by ``pooled``; sockets and threads here."""
    threads = threading.active_count()
    script = MOMENTS[moment]

    async def watch(url: str) -> None:
        async with pooled(url, Notes(), policy=QUICK, timing=PROMPT, tokens_per_connection=2) as pool:
            pool.want("market", [str(number) for number in range(10)])
            pool.want_everything("user")
            await asyncio.sleep(delay)

    if script is None:
        asyncio.run(watch("ws://127.0.0.1:9"))
    else:
        with serving_sockets(script) as server:
            asyncio.run(watch(server.url))
            wait_until(lambda: server.here == 0, 3, what="that everybody has left")

    assert threading.active_count() == threads


def test_stopping_twice_does_nothing_more() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)
            await pool.stop()

    notes = Notes()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    assert notes.causes == [("market", None, "closed by us")]


def test_a_million_bytes_in_small_pieces_are_no_reason_to_leave() -> None:
    """A socket on which bytes flow is alive, however slowly its answers come."""
    piece = books(["1"])

    async def busy(peer: Peer) -> None:
        await peer.receive()
        for _ in range(40):
            await peer.send(piece)
            await asyncio.sleep(0.02)
        await peer.answer(pong=False)

    async def watch() -> None:
        async with pooled(server.url, notes, timing=times(ping=0.05, answer=0.2, opening=5, silence=60)) as pool:
            pool.want("market", ["1"])
            await until(lambda: sum(isinstance(event, BookSnapshot) for event in notes.events) >= 40)
            assert notes.count("closed") == 0

    notes = Notes()
    with serving_sockets(busy) as server:
        asyncio.run(watch())


def test_others_have_their_turn_while_many_frames_are_there_already() -> None:
    many = 2_000

    async def flood(peer: Peer) -> None:
        await peer.receive()
        peer.raw(b"\x81\x02[]" * many)
        await peer.answer()

    async def watch() -> list[int]:
        seen = [0]
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            while len(notes.frames) < many:
                await asyncio.sleep(0)
                seen.append(len(notes.frames))
        return seen

    notes = Notes()
    with serving_sockets(flood) as server:
        seen = asyncio.run(watch())

    between = [later - earlier for earlier, later in pairwise(seen)]
    assert 1 < max(between) <= 100


def test_what_came_before_the_end_is_taken_though_nothing_can_be_sent_any_more() -> None:
    many = 1_000

    class Slow(Notes):
        def received(self, connection: FeedConnection, data: bytes, events: Sequence[Event], now: int) -> None:
            time.sleep(0.0005)
            super().received(connection, data, events, now)

    async def flood_and_reset(peer: Peer) -> None:
        await peer.receive()
        if peer.number == 0:
            peer.raw(b"\x81\x02[]" * many)
            await asyncio.sleep(0.1)
            peer.reset()
        else:
            await peer.answer()

    async def watch() -> None:
        async with pooled(server.url, notes, timing=times(ping=5, answer=5, opening=5, silence=60)) as pool:
            pool.want("market", ["1"])
            while not notes.count("closed"):
                await asyncio.sleep(0.005)
                # Each wish is a frame to be sent, on a socket that is closed already.
                pool.want("market", [f"{len(notes.frames) + 2}"])

    notes = Slow()
    with serving_sockets(flood_and_reset) as server:
        asyncio.run(watch())
    assert notes.frames.count(b"[]") == many


def test_an_error_at_a_tick_costs_one_socket_and_no_other() -> None:
    """All connections are told the time by one task, which goes on whatever one of them makes of it."""

    async def watch() -> None:
        async with pooled(server.url, notes, tokens_per_connection=1, timing=PROMPT) as pool:
            pool.want("market", ["1", "2"])
            first, second = pool.connections
            await until(lambda: first.connected and second.connected)
            tick = first.session.tick

            def fail_once(now: int) -> None:
                first.session.tick = tick
                raise RuntimeError(f"at {now}")

            first.session.tick = fail_once
            await until(lambda: notes.count("opened") == 3)
            assert (first.errors, second.errors) == (1, 0)
            assert first.last_error.startswith("internal error: at ")
            pings = [heard.count("PING") for heard in server.heard]
            await until(lambda: server.heard[1].count("PING") > pings[1] and "PING" in server.heard[2])

    notes = Notes()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    assert [cause for _, cause, _ in notes.causes] == ["disconnect", None, None]
