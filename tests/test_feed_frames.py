"""What connections make of the frames of scripted servers on loopback, in the clear and over TLS."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from pathlib import Path

import pytest
from support.certificates import self_signed
from support.feed import Notes, pooled, times
from support.waiting import until
from support.wire_frames import BINARY, CONTINUATION, PING, TEXT, framed
from support.ws import Peer, books, serving_sockets

from pmlive.events import Cause, Event, Malformed
from pmlive.feed import FeedConnection

S = 1_000_000_000
CALM = times(ping=60, answer=60, quiet=60, opening=60, silence=60)


class Timed(Notes):
    """Notes the receive times, too, and how many frames had come at each end."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[int] = []
        self.at_ends: list[int] = []

    def received(self, connection: FeedConnection, data: bytes, events: Sequence[Event], now: int) -> None:
        super().received(connection, data, events, now)
        self.times.append(now)

    def closed(self, connection: FeedConnection, cause: Cause | None, detail: str, now: int) -> None:
        super().closed(connection, cause, detail, now)
        self.at_ends.append(len(self.frames))


@pytest.fixture(params=["ws", "wss"])
def tls(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext | None:
    """Nothing, or a certificate that the client is told to trust."""
    if request.param == "ws":
        return None
    certificate, context = self_signed(tmp_path, name="127.0.0.1", alternative="IP:127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return context


def numbered(*numbers: int) -> bytes:
    return b"".join(framed(TEXT, b"[%d]" % number) for number in numbers)


def first_only(
    script: Callable[[Peer], Coroutine[object, object, None]],
) -> Callable[[Peer], Coroutine[object, object, None]]:
    """Speak to the first client after its first word, and to the others as the venue does."""

    async def speak(peer: Peer) -> None:
        if peer.number > 0:
            await peer.answer()
        else:
            await peer.receive()
            await script(peer)

    return speak


def test_frames_of_all_kinds_come_in_order_and_pings_are_answered(tls: ssl.SSLContext | None) -> None:
    big, bigger = b"[" + b"1," * 60_000 + b"1]", b"[" + b"2," * 1_500_000 + b"2]"

    async def script(peer: Peer) -> None:
        await peer.ping()
        peer.raw(numbered(*range(300)) + framed(BINARY, big))
        await peer.ping()
        frame = framed(TEXT, bigger)
        for at in range(0, len(frame), 4096):
            peer.raw(frame[at : at + 4096])
        await peer.ping()
        peer.raw(framed(PING, b"?") + numbered(300) + framed(TEXT, b"[3", last=False) + framed(PING, b"between"))
        peer.raw(framed(CONTINUATION, b"0", last=False) + framed(CONTINUATION, b"1]") + numbered(302))
        await peer.ping()
        answered.append("all")
        await peer.gone()

    async def watch() -> None:
        async with pooled(server.url, notes, timing=CALM) as pool:
            pool.want("market", ["1"])
            await until(lambda: answered and len(notes.frames) == 305)

    notes, answered = Notes(), list[str]()
    with serving_sockets(first_only(script), tls=tls) as server:
        asyncio.run(watch())

    assert notes.frames == [*(b"[%d]" % number for number in range(300)), big, bigger, b"[300]", b"[301]", b"[302]"]
    assert notes.causes == [("market", None, "closed by us")]


def test_each_frame_of_a_chunk_has_a_receive_time_of_its_own() -> None:
    async def script(peer: Peer) -> None:
        peer.raw(numbered(*range(200)))
        await peer.gone()

    async def watch() -> None:
        ticks = count(S)
        async with pooled(server.url, notes, timing=CALM, clock=lambda: next(ticks)) as pool:
            pool.want("market", ["1"])
            await until(lambda: len(notes.frames) == 200)

    notes = Timed()
    with serving_sockets(first_only(script)) as server:
        asyncio.run(watch())

    assert notes.times == sorted(set(notes.times))


@pytest.mark.parametrize("ending", ["close", "FIN", "a frame that is too long"])
def test_what_came_before_an_end_is_noted_before_it(ending: str, tls: ssl.SSLContext | None) -> None:
    async def script(peer: Peer) -> None:
        peer.raw(numbered(*range(1000)))
        if ending == "close":
            await peer.close(1012)
        elif ending == "FIN":
            peer.half_frame()
        else:
            peer.raw(b"\x81\x7f" + (1 << 30).to_bytes(8))
            await peer.gone()

    async def watch() -> None:
        async with pooled(server.url, notes, timing=CALM) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)

    notes = Timed()
    with serving_sockets(first_only(script), tls=tls) as server:
        asyncio.run(watch())

    assert notes.at_ends[0] == 1000
    assert notes.frames[:1000] == [b"[%d]" % number for number in range(1000)]
    assert [cause for _, cause, _ in notes.causes] == ["disconnect", None]


def test_text_that_is_not_utf_8_is_noted_and_does_not_end_the_connection() -> None:
    """It is kept as it came, and what can be read goes on; a reconnection would lose more than one frame."""

    async def script(peer: Peer) -> None:
        peer.raw(framed(TEXT, b"\xff\xfe") + framed(TEXT, books(["1"]).encode()))
        await peer.gone()

    async def watch() -> None:
        async with pooled(server.url, notes, timing=CALM) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)

    notes = Notes()
    with serving_sockets(first_only(script)) as server:
        asyncio.run(watch())

    assert notes.frames[0] == b"\xff\xfe"
    assert isinstance(notes.events[0], Malformed)
    assert notes.causes == [("market", None, "closed by us")]


def test_an_internal_error_within_a_burst_ends_the_connection_there() -> None:
    class Stumbling(Timed):
        def received(self, connection: FeedConnection, data: bytes, events: Sequence[Event], now: int) -> None:
            super().received(connection, data, events, now)
            if data == b"[70]":
                raise KeyError("poison")

    async def script(peer: Peer) -> None:
        peer.raw(numbered(*range(1000)))
        await peer.gone()
        codes.append(peer.close_code)

    async def watch() -> None:
        async with pooled(server.url, notes, timing=CALM) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)
            assert pool.connections[0].last_error == "internal error: 'poison'"

    notes, codes = Stumbling(), list[int | None]()
    with serving_sockets(first_only(script)) as server:
        asyncio.run(watch())

    assert notes.at_ends[0] == 71
    assert notes.causes[0] == ("market", "disconnect", "internal error: KeyError('poison')")
    # The code depends on the version of the library.
    assert codes[0] in (1000, 1011)


@pytest.mark.parametrize("way", ["given up", "stopped"])
def test_a_connection_that_is_ended_within_a_burst_notes_nothing_after_its_end(way: str) -> None:
    class Ending(Timed):
        def received(self, connection: FeedConnection, data: bytes, events: Sequence[Event], now: int) -> None:
            super().received(connection, data, events, now)
            if data == b"[70]" and way == "given up":
                connection.give_up("had enough")
            elif data == b"[70]":
                self.stopping = asyncio.create_task(connection.stop())

    async def script(peer: Peer) -> None:
        peer.raw(numbered(*range(5000)))
        await peer.gone()

    async def watch() -> None:
        async with pooled(server.url, notes, timing=CALM) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.count("closed"))
            await asyncio.sleep(0)
            came.append(len(notes.frames))

    notes, came = Ending(), list[int]()
    with serving_sockets(first_only(script)) as server:
        asyncio.run(watch())

    assert 71 <= notes.at_ends[0] < 1000
    assert came[0] == notes.at_ends[0]
    assert notes.causes[0][1:] == (("silence", "had enough") if way == "given up" else (None, "closed by us"))
