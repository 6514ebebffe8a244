"""How connections are dialled, refused and given up, against scripted servers on loopback."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from support.certificates import self_signed
from support.feed import PROMPT, QUICK, SECRETS, Notes, pooled, times
from support.waiting import until
from support.ws import Peer, serving_sockets

from pmlive._session import Timing
from pmlive.errors import AuthError, FeedError
from pmlive.events import Cause, Channel, Control, Event
from pmlive.feed import FeedConnection, Policy


async def answering(peer: Peer) -> None:
    await peer.answer()


async def closing_at_once(peer: Peer) -> None:
    await peer.close(1000)


async def closing_after_the_first_word(peer: Peer) -> None:
    await peer.receive()
    await peer.close(1000)


@pytest.mark.parametrize("script", [closing_at_once, closing_after_the_first_word], ids=["silent", "after a word"])
def test_a_server_that_accepts_and_closes_is_dialled_six_times_a_window_at_most(script: "pytest.Function") -> None:
    """The library's own iterator dialled it 545 times a second (reliability.md, 1.1)."""
    policy = msgspec.structs.replace(QUICK, window=0.8, dials=6)

    async def watch() -> None:
        async with pooled(server.url, Notes(), policy=policy) as pool:
            pool.want("market", ["1"])
            await until(lambda: len(server.dials) >= 13, 10)

    with serving_sockets(script) as server:  # pyright: ignore[reportArgumentType]  # one of the two above
        asyncio.run(watch())

    # Dials are counted where they arrive, which on a busy machine is later than they are made, by less than this.
    assert server.most_dials_within(0.4) <= 6
    assert server.dials[12] - server.dials[0] >= 1.2


def test_by_default_a_connection_is_dialled_six_times_a_minute_at_most() -> None:
    assert (Policy().dials, Policy().window) == (6, 60.0)
    assert Policy().stable == 30.0


def test_a_server_that_says_when_is_not_dialled_before() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)

    notes = Notes()
    with serving_sockets(
        answering, admit=lambda number: (429, {"Retry-After": "1"}) if number == 0 else None
    ) as server:
        asyncio.run(watch())

    first, second = server.dials[:2]
    assert 1 <= second - first < 1.5
    assert notes.errors == []


@pytest.mark.parametrize("status", [500, 502, 503, 520, 530])
def test_a_server_in_trouble_is_dialled_again(status: int) -> None:
    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)

    notes = Notes()
    with serving_sockets(answering, admit=lambda number: (status, {}) if number < 2 else None) as server:
        asyncio.run(watch())

    assert len(server.dials) == 3
    assert notes.causes == [("market", None, "closed by us")]


REFUSED = [301, 302, 307, 308, 401, 403, 404, 407, 451]


@pytest.mark.parametrize("status", REFUSED)
def test_a_handshake_that_is_refused_once_is_asked_again_later_and_told_at_once(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Cloudflare answers 403 for a while, and the night goes on."""
    policy = msgspec.structs.replace(QUICK, refused=0.5)

    async def watch() -> None:
        async with pooled(server.url, notes, policy=policy) as pool:
            pool.want("market", ["1"])
            await until(lambda: pool.connections[0].last_error)
            told.append(pool.connections[0].last_error)
            await until(lambda: notes.books)

    notes, told = Notes(), list[str]()
    with serving_sockets(answering, admit=lambda number: (status, {}) if number == 0 else None) as server:
        asyncio.run(watch())

    first, second = server.dials[:2]
    assert second - first >= 0.5
    assert f"HTTP {status}" in told[0]
    assert "asked again in" in told[0]
    assert [record.message for record in caplog.records if record.levelname == "WARNING"][:1] == told
    assert notes.errors == []
    assert notes.causes == [("market", None, "closed by us")]


def test_refusals_in_a_row_are_asked_less_and_less_often_and_a_connection_ends_that() -> None:
    policy = msgspec.structs.replace(QUICK, refused=0.2, refused_most=0.5)

    async def once(peer: Peer) -> None:
        await peer.receive()
        await peer.close(1012)

    async def watch() -> None:
        async with pooled(server.url, notes, policy=policy) as pool:
            pool.want("market", ["1"])
            await until(lambda: len(server.dials) >= 6)

    notes = Notes()
    with serving_sockets(once, admit=lambda number: (403, {}) if number < 3 else None) as server:
        asyncio.run(watch())

    waits = [later - earlier for earlier, later in pairwise(server.dials)]
    assert [wait >= least for wait, least in zip(waits, [0.2, 0.4, 0.4], strict=False)] == [True] * 3
    assert notes.count("closed") >= 2
    assert notes.errors == []


def test_the_gap_of_a_connection_lasts_while_the_handshake_is_refused() -> None:
    async def once(peer: Peer) -> None:
        await peer.receive()
        if peer.number == 0:
            peer.reset()
        else:
            await peer.answer()

    async def watch() -> None:
        async with pooled(server.url, notes, policy=msgspec.structs.replace(QUICK, refused=0.3)) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.count("closed") == 1)
            (connection,) = pool.connections
            await until(lambda: "403" in connection.last_error)
            assert connection.previous == notes.epochs[0]
            await until(lambda: notes.count("opened") == 2)

    notes = Notes()
    with serving_sockets(once, admit=lambda number: (403, {}) if number == 1 else None) as server:
        asyncio.run(watch())

    assert [cause for _, cause, _ in notes.causes] == ["disconnect", None]


def test_a_refused_user_handshake_is_asked_again_as_well() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want_everything("user")
            await until(lambda: notes.count("opened"))

    notes = Notes()
    with serving_sockets(
        answering, admit=lambda number: ([401, 403, 404][number], {}) if number < 3 else None
    ) as server:
        asyncio.run(watch())

    assert notes.errors == []
    assert len(server.dials) == 4


def test_a_user_channel_that_is_told_to_sign_in_three_times_has_refused_the_credentials() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want_everything("user")
            await until(lambda: notes.errors)

    notes = Notes()
    with serving_sockets(answering, admit=lambda _: (401, {})) as server:
        asyncio.run(watch())

    assert len(server.dials) == 3
    assert isinstance(notes.errors[0], AuthError)
    assert "401" in str(notes.errors[0])


def test_a_redirect_is_not_followed_and_the_other_origin_never_contacted() -> None:
    """A followed redirect hands credentials to the other origin (reliability.md, 1.3)."""

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("user", ["0xa"])
            await until(lambda: len(server.dials) >= 2)

    notes = Notes()
    with (
        serving_sockets(answering) as other,
        serving_sockets(answering, admit=lambda _: (302, {"Location": other.url})) as server,
    ):
        asyncio.run(watch())

    assert notes.errors == []
    assert other.dials == []
    assert other.texts == []


def test_a_certificate_that_cannot_be_trusted_stops_the_channel_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The library's iterator retries it for ever (reliability.md, 1.2)."""

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.errors)
            (connection,) = pool.connections
            assert connection.dials == 1

    notes = Notes()
    _, tls = self_signed(tmp_path, name="127.0.0.1", alternative="IP:127.0.0.1")
    with serving_sockets(answering, tls=tls) as server:
        asyncio.run(watch())

    assert isinstance(notes.errors[0], FeedError)
    assert "certificate" in str(notes.errors[0])
    assert server.dials == []
    assert [record.levelname for record in caplog.records if "certificate" in record.message] == ["ERROR"]


@contextlib.asynccontextmanager
async def listening(answer: bytes | None) -> AsyncGenerator[tuple[str, list[float]]]:
    """Listen without speaking HTTP: send these bytes to who connects, or nothing at all."""
    dials: list[float] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dials.append(time.monotonic())
        if answer is not None:
            await reader.read(100)
            writer.write(answer)
            await writer.drain()
            writer.close()
            return
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", dials


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00" * 50, b"HTTP/1.1 200 OK\r\n\r\n"])
def test_what_is_no_websocket_server_is_dialled_again(answer: bytes) -> None:
    async def watch() -> None:
        async with listening(answer) as (url, dials), pooled(url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: len(dials) >= 3)
            (connection,) = pool.connections
            assert connection.errors >= 2
            assert connection.last_error

    notes = Notes()
    asyncio.run(watch())

    assert notes.said == []


def test_a_handshake_that_nobody_answers_is_given_up() -> None:
    async def watch() -> None:
        policy = msgspec.structs.replace(QUICK, open_timeout=0.1)
        async with listening(None) as (url, dials), pooled(url, Notes(), policy=policy) as pool:
            pool.want("market", ["1"])
            await until(lambda: len(dials) >= 2)

    asyncio.run(watch())


def test_a_port_that_nobody_listens_on_is_dialled_again_until_somebody_does() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    async def watch() -> None:
        async with pooled(f"ws://127.0.0.1:{port}", notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: pool.connections[0].errors >= 3)
            assert pool.connections[0].conn is None

    notes = Notes()
    asyncio.run(watch())

    assert notes.said == []


# --- credentials that are refused ---


async def cutting(peer: Peer) -> None:
    await peer.receive()
    peer.reset()


def saying(text: str) -> "Callable[[Peer], Coroutine[object, object, None]]":
    async def say(peer: Peer) -> None:
        await peer.receive()
        await peer.send(text)
        await peer.gone()

    return say


def saying_and_closing(text: str) -> "Callable[[Peer], Coroutine[object, object, None]]":
    async def say(peer: Peer) -> None:
        await peer.receive()
        await peer.send(text)
        await peer.close(1008)

    return say


def closing(code: int, reason: str) -> "Callable[[Peer], Coroutine[object, object, None]]":
    async def close(peer: Peer) -> None:
        await peer.receive()
        await peer.close(code, reason)

    return close


async def mute(peer: Peer) -> None:
    async for _ in peer.messages():
        pass


async def answering_and_saying(peer: Peer) -> None:
    """Answer the ping that greets, and only then refuse."""
    async for text in peer.messages():
        if text == "PING":
            await peer.send("PONG")
            await peer.send('{"error":"invalid api key"}')


# How a venue may refuse credentials, and the words of it that are told.
REFUSING = {
    "cut (rs-clob-client#218)": (cutting, ""),
    "JSON error": (saying('{"error":"invalid api key"}'), "invalid api key"),
    "JSON message": (saying('{"message":"Forbidden"}'), "Forbidden"),
    "JSON type": (saying('{"type":"error","message":"who are you"}'), "who are you"),
    "text": (saying("invalid credentials"), "invalid credentials"),
    "JSON, then close": (saying_and_closing('{"error":"invalid api key"}'), "invalid api key"),
    "text, then close": (saying_and_closing("Unauthorized: no such key"), "no such key"),
    "close with words": (closing(1008, "invalid api key"), "invalid api key"),
    "clean close": (closing(1000, ""), "1000"),
    "an empty frame, then close": (saying_and_closing(""), "1008"),
    "an empty frame, then silence": (saying(""), "silence"),
    "silence": (mute, "silence"),
    "after a PONG": (answering_and_saying, "invalid api key"),
}


@pytest.mark.parametrize("name", REFUSING)
def test_credentials_that_are_refused_are_an_error_within_three_connections(name: str) -> None:
    script, words = REFUSING[name]
    timing = times(ping=5, answer=5, greeting=0.05, verdict=0.4)

    async def watch() -> None:
        async with pooled(server.url, notes, timing=timing) as pool:
            pool.want_everything("user")
            await until(lambda: notes.errors)
            assert not pool.connections[0].session.useful

    notes = Notes()
    with serving_sockets(script) as server:
        asyncio.run(watch())

    (error,) = notes.errors
    assert isinstance(error, AuthError)
    assert words in str(error)
    assert "canary" not in str(error)
    assert len(server.dials) <= 3


def test_by_default_refused_credentials_are_known_within_ten_seconds() -> None:
    """Silence takes longest: two connections, and the delay before the second."""
    timing, policy = Timing(), Policy()

    assert 2 * timing.verdict / 1e9 + policy.first + 2 * policy.tick < 9
    assert timing.greeting < timing.verdict


# What a venue says or does that has trouble of its own.
TROUBLED = {
    "JSON": saying('{"message":"Internal server error"}'),
    "text": saying("too many requests"),
    "JSON error": saying('{"error":"please retry"}'),
    "going away": closing(1001, ""),
    "internal error": closing(1011, "unexpected condition"),
    "restart": closing(1012, "service restart"),
    "busy": closing(1013, "try again later"),
    "bad gateway": closing(1014, ""),
}


@pytest.mark.parametrize("name", TROUBLED)
def test_a_venue_in_trouble_has_not_refused_the_credentials(name: str) -> None:
    async def watch() -> None:
        async with pooled(server.url, notes, timing=times(ping=0.05, answer=0.1, greeting=5, verdict=5)) as pool:
            pool.want_everything("user")
            await until(lambda: len(server.dials) >= 5)
            assert not pool.connections[0].session.useful

    notes = Notes()
    with serving_sockets(TROUBLED[name]) as server:
        asyncio.run(watch())

    assert notes.errors == []


def test_a_user_socket_that_was_answered_has_not_refused_the_credentials() -> None:
    """Not even if it then ends at once or stays silent, again and again."""

    async def once(peer: Peer) -> None:
        await peer.receive()
        if peer.number == 0:
            await peer.send("PONG")
        if peer.number != 3:
            await peer.close(1012)
        await peer.gone()

    async def watch() -> None:
        timing = times(ping=0.05, answer=0.1, greeting=0.05, verdict=0.3)
        async with pooled(server.url, notes, timing=timing) as pool:
            pool.want_everything("user")
            await until(lambda: len(server.dials) >= 6)

    notes = Notes()
    with serving_sockets(once) as server:
        asyncio.run(watch())

    assert notes.errors == []


def test_a_quiet_user_channel_is_no_refusal() -> None:
    async def watch() -> None:
        async with pooled(server.url, notes, timing=times(ping=0.05, answer=2, greeting=0.02, verdict=0.2)) as pool:
            pool.want_everything("user")
            await until(lambda: server.texts.count("PING") >= 10)
            assert pool.connections[0].session.useful

    notes = Notes()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    assert notes.errors == []
    assert len(server.dials) == 1


@pytest.mark.parametrize("channel", ["market", "realtime"])
@pytest.mark.parametrize("text", ['{"message": "Invalid request body"}', "INVALID OPERATION", '{"error":"bad topic"}'])
def test_what_the_venue_says_is_wrong_is_told_once(
    channel: Channel, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def complain(peer: Peer) -> None:
        for _ in range(3):
            await peer.send(text)
        await peer.answer()

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want(channel, ["activity|fed"])
            await until(lambda: pool.connections[0].complaint and len(notes.events) >= 3)
            said.append(pool.connections[0].complaint)

    notes, said = Notes(), list[str]()
    with serving_sockets(complain) as server:
        asyncio.run(watch())

    assert said[0] in text
    assert all(isinstance(event, Control) for event in notes.events[:3])
    assert len([record for record in caplog.records if said[0] in record.message]) == 1


# --- a log that cannot be written ---


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError(5, f"cannot write {record.getMessage()}")


@contextlib.contextmanager
def unwritable_log() -> Generator[None]:
    """Make every line of the log fail, as a dead terminal does."""
    handler, logger = Broken(), logging.getLogger("pmlive")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.parametrize("ending", ["reset", "refused", "stumble"])
def test_a_log_that_cannot_be_written_stops_no_connection(ending: str) -> None:
    class Stumbling(Notes):
        def received(self, connection: FeedConnection, data: bytes, events: Sequence[Event], now: int) -> None:
            super().received(connection, data, events, now)
            if ending == "stumble" and len(self.frames) == 1:
                raise KeyError("poison")

    async def once(peer: Peer) -> None:
        if peer.number == 0 and ending != "stumble":
            await peer.receive()
            peer.reset()
        else:
            await peer.answer()

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.count("opened") == 2 and notes.books)

    notes = Stumbling()
    with (
        unwritable_log(),
        serving_sockets(once, admit=lambda number: (403, {}) if (ending, number) == ("refused", 1) else None) as server,
    ):
        asyncio.run(watch())

    assert [cause for _, cause, _ in notes.causes] == ["disconnect", None]
    assert notes.errors == []


def test_a_sink_that_fails_at_every_end_does_not_stop_the_dialling() -> None:
    class Failing(Notes):
        def closed(self, connection: FeedConnection, cause: Cause | None, detail: str, now: int) -> None:
            super().closed(connection, cause, detail, now)
            if cause is not None:
                raise RuntimeError("the disk is gone")

    async def once(peer: Peer) -> None:
        if peer.number < 2:
            await peer.receive()
            peer.reset()
        else:
            await peer.answer()

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)
            assert "internal error" in pool.connections[0].last_error

    notes = Failing()
    with serving_sockets(once) as server:
        asyncio.run(watch())

    assert [cause for _, cause, _ in notes.causes] == ["disconnect", "disconnect", None]


def test_connections_that_drop_together_come_back_one_after_another() -> None:
    """429 when many sockets open at once (nautilus_trader#2238)."""
    tokens = [str(number) for number in range(50)]
    policy = msgspec.structs.replace(QUICK, spacing=0.02, first=0.001, most=0.002)
    dropping = threading.Event()

    async def dropped_together(peer: Peer) -> None:
        await peer.receive()
        if peer.number < 50:
            while not dropping.is_set():  # noqa: ASYNC110  # set by another thread
                await asyncio.sleep(0.005)
            peer.reset()
        else:
            await peer.answer()

    async def watch() -> None:
        async with pooled(server.url, notes, policy=policy, tokens_per_connection=1) as pool:
            pool.want("market", tokens)
            await until(lambda: server.here == 50)
            dropping.set()
            await until(lambda: notes.count("opened") >= 100, 15)
            assert all(connection.connected for connection in pool.connections)

    notes = Notes()
    with serving_sockets(dropped_together) as server:
        asyncio.run(watch())

    assert notes.count("closed") == 100  # fifty dropped, fifty ended by us
    again = server.dials[50:]
    # Within any tenth of a second there is room for five, and for one more that was late in arriving.
    assert max(sum(first <= at < first + 0.1 for at in again) for first in again) <= 7
    assert again[-1] - again[0] >= 0.9


def test_credentials_are_in_no_log_even_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def watch() -> None:
        async with pooled(server.url, notes, timing=PROMPT) as pool:
            pool.want_everything("user")
            pool.want("prices", ["price.crypto|btcusd"])
            await until(lambda: any("canary" in text for text in server.texts) and len(server.heard) == 2)
            await until(lambda: all(any(secret in text for text in server.texts) for secret in SECRETS.values()))

    async def listen(peer: Peer) -> None:
        await peer.answer()

    notes = Notes()
    with serving_sockets(listen) as server:
        asyncio.run(watch())

    ours = [record for record in caplog.records if record.threadName != "test server"]
    assert ours
    assert not [record for record in ours if "canary" in record.getMessage() + str(record.args)]


def test_an_internal_error_is_a_gap_and_the_socket_is_dialled_again(caplog: pytest.LogCaptureFixture) -> None:
    """One message that we stumble over must not end the night's recording."""

    class Stumbling(Notes):
        def received(self, connection: object, data: bytes, events: object, now: int) -> None:
            super().received(connection, data, events, now)  # pyright: ignore[reportArgumentType]
            if len(self.frames) == 1:
                raise KeyError("poison")

    async def watch() -> None:
        async with pooled(server.url, notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: len(notes.frames) >= 2)

    notes = Stumbling()
    with serving_sockets(answering) as server:
        asyncio.run(watch())

    cause, detail = notes.causes[0][1:]
    assert cause == "disconnect"
    assert "poison" in detail
    assert any(record.exc_info for record in caplog.records)
    assert notes.errors == []


def test_waits_of_every_kind_have_an_end() -> None:
    """Each default is finite and in the range that reliability.md promises."""
    policy = Policy()

    assert 0 < policy.first <= 1 <= policy.most <= 60 <= policy.refused
    assert 0 < policy.tick < 1
    assert 0 < policy.open_timeout <= 10
    assert set(times(ping=1)) == {"market", "user", "realtime", "prices"}
