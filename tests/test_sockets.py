"""A socket that hands on messages from where their bytes arrive, beside the library's own way of receiving them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_sockets import Conversation, Outcome, Server, turns
from support.wire_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, framed
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from pmlive.feed.sockets import MAX_MESSAGE, Socket


def outcomes(server: Server) -> tuple[Outcome, Outcome]:
    """Let a server speak to the library's connection, and to ours."""

    async def both() -> tuple[Outcome, Outcome]:
        return await Conversation(ClientConnection, server).run(), await Conversation(Socket, server).run()

    return asyncio.run(both())


@pytest.mark.parametrize("deflates", [False, True])
def test_the_answer_to_the_handshake_may_come_in_parts_and_with_frames(*, deflates: bool) -> None:
    data = framed(TEXT, b"one") + framed(PING, b"?") + framed(TEXT, b"two")
    for place in range(0, 1001, 5):
        library, ours = outcomes(Server(data, [place, place + 5], deflates=deflates))
        assert ours == library
        assert ours.messages == [b"one", b"two"]


class Compressed(bytes):
    """A message that is compressed when its turn comes, since that depends on those before."""


def written(frames: list[bytes]) -> bytes:
    """Join frames, and compress those that are to be."""
    deflate = PerMessageDeflate(
        remote_no_context_takeover=False, local_no_context_takeover=False, remote_max_window_bits=15,
        local_max_window_bits=15,
    )  # fmt: skip
    return b"".join(
        Frame(Opcode.TEXT, bytes(frame)).serialize(mask=False, extensions=[deflate])
        if isinstance(frame, Compressed)
        else frame
        for frame in frames
    )


payloads = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(str.encode),
    st.sampled_from([125, 126, 65_535, 65_536]).map(bytes),
)
small = st.binary(max_size=20)
plain = st.builds(framed, st.sampled_from([TEXT, TEXT, BINARY]), payloads)
bursts = st.integers(30, 130).map(lambda count: b"".join(framed(TEXT, b"%d" % number) for number in range(count)))
pings = st.builds(framed, st.sampled_from([PING, PONG]), st.binary(max_size=125))
fragments = st.lists(st.tuples(small, st.none() | small), min_size=2, max_size=5).map(
    lambda parts: b"".join(
        framed(CONTINUATION if at else TEXT, part, last=at == len(parts) - 1)
        + (b"" if between is None else framed(PING, between))
        for at, (part, between) in enumerate(parts)
    )
)
codes = st.sampled_from([1000, 1001, 1005, 1006, 1008, 1009, 1011, 2999, 3000, 4003, 5000])
reasons = st.sampled_from([b"", b"bye", b"\xff"])
closes = st.one_of(
    st.tuples(codes.map(lambda code: code.to_bytes(2)), reasons).map(lambda parts: framed(CLOSE, b"".join(parts))),
    st.sampled_from([framed(CLOSE), framed(CLOSE, b"\x03")]),
)
strange = st.one_of(
    st.builds(
        framed,
        st.integers(0, 15),
        small,
        last=st.booleans(),
        reserved=st.integers(0, 7),
        mask=st.sampled_from([b"", b"", b"mask"]),
        length_bytes=st.sampled_from([None, 2, 8]),
    ),
    st.sampled_from([framed(TEXT, b"\xff\xfe"), framed(PING, bytes(126)), framed(TEXT, b"part", last=False)]),
    st.integers(MAX_MESSAGE + 1, (1 << 64) - 1).map(lambda length: b"\x81\x7f" + length.to_bytes(8)),
    st.binary(max_size=30),
)
usual = st.lists(st.one_of(plain, plain, bursts, pings, plain.map(Compressed)), max_size=8)
anything = st.lists(st.one_of(fragments, fragments, closes, strange, plain), max_size=4)


@st.composite
def servers(draw: st.DrawFn) -> Server:
    places = st.lists(st.integers(0, 1000), max_size=25)
    return Server(
        written([*draw(usual), *draw(anything), *draw(usual)]),
        draw(places),
        end=draw(st.sampled_from(["end of stream", "reset"])),
        deflates=draw(st.booleans()),
        reads_at=draw(st.sampled_from([0, 0, 1, 3, 99])),
        closes_at=draw(st.none() | st.none() | st.integers(0, 20)),
    )


@given(servers())
def test_whatever_a_server_sends_comes_and_ends_as_through_the_library(server: Server) -> None:
    library, ours = outcomes(server)

    assert ours == library


# Bytes after which a server ends, or goes on with messages.
LASTS = {
    "nothing": b"",
    "a part of a header": b"\x81",
    "a part of a length": b"\x81\x7e\x01",
    "a part of a message": framed(TEXT, bytes(300))[:100],
    "a part of a ping": framed(PING, b"some")[:3],
    "a part of a close": framed(CLOSE, b"\x03\xe8bye")[:5],
    "a close": framed(CLOSE, b"\x03\xe8bye"),
    "a close without a code": framed(CLOSE),
    "a close with half a code": framed(CLOSE, b"\x03"),
    "a close with a bad code": framed(CLOSE, b"\x03\xed"),
    "a close with a bad reason": framed(CLOSE, b"\x03\xe8\xff"),
    "a masked close": framed(CLOSE, b"\x03\xe8", mask=b"mask"),
    "a ping": framed(PING, b"some"),
    "a pong": framed(PONG, b"some"),
    "a long ping": framed(PING, bytes(126)),
    "a part of a fragmented ping": framed(PING, b"some", last=False),
    "a fragmented message": framed(TEXT, b"so", last=False) + framed(PING, b"?") + framed(CONTINUATION, b"me"),
    "an unfinished message": framed(BINARY, b"so", last=False) + framed(CONTINUATION, b"m", last=False),
    "a message within another": framed(TEXT, b"so", last=False) + framed(TEXT, b"other"),
    "a close within a message": framed(TEXT, b"so", last=False) + framed(CLOSE, b"\x03\xe8"),
    "a continuation of nothing": framed(CONTINUATION, b"some"),
    "text that is not UTF-8": framed(TEXT, b"\xff\xfe"),
    "a compressed message": framed(TEXT, b"\xaa\x02\x00", reserved=4),
    "a badly compressed message": framed(TEXT, b"\xff\xff\xff", reserved=4),
    "a reserved bit": framed(TEXT, b"some", reserved=1),
    "a reserved kind": framed(0x3, b"some"),
    "a reserved kind of control": framed(0xB, b"some"),
    "a masked message": framed(TEXT, b"some", mask=b"mask"),
    "a message that is too long": b"\x81\x7f" + (MAX_MESSAGE + 1).to_bytes(8),
    "an impossible length": b"\x81\x7f" + b"\xff" * 8,
    "fragments that are too long together": framed(TEXT, b"some", last=False) + b"\x80\x7f" + MAX_MESSAGE.to_bytes(8),
}


@pytest.mark.parametrize("name", LASTS)
def test_however_a_server_ends_it_is_as_through_the_library(name: str) -> None:
    """With messages before and after it, over a reset or not, and while the client closes or not."""
    begin, last = framed(TEXT, b"one") + framed(PING, b"!") + framed(BINARY, b"two"), LASTS[name]
    servers = [
        Server(begin + last + after, places, end=end, deflates=deflates, closes_at=closes_at)
        for after in (b"", framed(TEXT, b"three") + framed(PING, b"?"))
        for places, closes_at in (([], None), ([600, 800, 950], None), ([600, 950], 2))
        for end in ("end of stream", "reset")
        for deflates in (False, True)
    ]
    for server in servers:
        library, ours = outcomes(server)
        assert ours == library, server


@pytest.mark.parametrize("sends", [False, True], ids=["while it is idle", "while it sends"])
@pytest.mark.parametrize("place", range(24))
def test_a_client_that_closes_within_a_frame_hears_what_it_would_through_the_library(
    place: int, *, sends: bool
) -> None:
    """The rest of what comes, unless it closes within a message of its own: then the library discards everything."""
    data = framed(TEXT, b"one") + framed(TEXT, b"two") + framed(PING, b"?") + framed(CLOSE, b"\x03\xe8")

    async def unfinished() -> AsyncIterator[str]:
        yield "begin"
        await asyncio.Event().wait()

    async def hear(kind: type[ClientConnection]) -> tuple[list[bytes], list[tuple[Opcode, bytes]]]:
        one = Conversation(kind, Server(b""))
        await one.open()
        one.read()
        sending = asyncio.create_task(one.connection.send(unfinished() if sends else "begin"))
        await turns()
        one.connection.data_received(data[:place])
        closing = asyncio.create_task(one.connection.close())
        await turns()
        one.connection.data_received(data[place:])
        await one.close()
        sending.cancel()
        await asyncio.gather(closing, sending, return_exceptions=True)
        return one.messages, one.written

    async def both() -> tuple[object, object]:
        return await hear(ClientConnection), await hear(Socket)

    library, ours = asyncio.run(both())

    assert ours == library


# --- what goes past the library's queue, and when ---


def connected(test: Callable[[Conversation], Coroutine[object, object, None]]) -> None:
    """Run a test with a connection that is open and that nobody reads yet."""

    async def run() -> None:
        one = Conversation(Socket, Server(b""))
        await one.open()
        try:
            await test(one)
        finally:
            await one.close()

    asyncio.run(run())


def frames(*numbers: int) -> bytes:
    return b"".join(framed(TEXT, b"%d" % number) for number in numbers)


def numbers(messages: list[bytes]) -> list[int]:
    return [int(message) for message in messages]


def test_plain_messages_are_handed_on_before_their_bytes_are_done_with() -> None:
    async def test(one: Conversation) -> None:
        one.read()
        await turns()
        for data, count in [(frames(0), 1), (frames(1, 2), 3), (framed(PING, b"?") + frames(3), 4), (frames(4), 5)]:
            one.connection.data_received(data)
            assert numbers(one.messages) == list(range(count))

    connected(test)


def test_so_are_those_that_come_with_the_answer_to_the_handshake_or_after_parts_of_it() -> None:
    async def test(place: int | None) -> None:
        one = Conversation(Socket, Server(b""))
        await one.open(place, with_it=framed(TEXT, b"hello") + frames(0)[:1])
        one.read()
        await turns()
        assert one.messages == [b"hello"]
        one.connection.data_received(frames(0)[1:] + frames(1))
        assert one.messages == [b"hello", b"0", b"1"]
        await one.close()

    for place in (None, 0, 1, 20, -1, -2, -3, -4):
        asyncio.run(test(place))


def test_from_a_fragment_on_messages_are_received_as_usual_and_in_order() -> None:
    async def test(one: Conversation) -> None:
        one.read()
        await turns()
        one.connection.data_received(
            frames(*range(60)) + framed(TEXT, b"6", last=False) + framed(CONTINUATION, b"0") + frames(61)
        )
        assert numbers(one.messages) == list(range(60))
        await turns()
        assert numbers(one.messages) == list(range(62))
        one.connection.data_received(frames(62))
        assert len(one.messages) == 62
        await turns()
        assert numbers(one.messages) == list(range(63))

    connected(test)


@pytest.mark.parametrize(
    "begin", [b"", framed(TEXT, b"", last=False) + framed(CONTINUATION, b"7")], ids=["plain", "not"]
)
def test_other_tasks_run_between_the_messages_of_a_large_chunk(begin: bytes) -> None:
    seen: list[int] = []

    async def look(one: Conversation) -> None:
        while True:
            seen.append(len(one.messages))
            await asyncio.sleep(0)

    async def test(one: Conversation) -> None:
        one.read()
        await turns()
        looking = asyncio.create_task(look(one))
        one.connection.data_received(begin + frames(*range(1010)))
        assert not one.transport.is_reading()
        # What comes all the same waits for its turn.
        one.connection.data_received(frames(1010))
        await asyncio.wait_for(one.transport.reads.wait(), 10)
        await turns()
        looking.cancel()
        assert numbers(one.messages)[bool(begin) :] == list(range(1011))

    connected(test)

    steps = [later - earlier for earlier, later in pairwise([0, *seen])]
    assert max(steps) == 50


@pytest.mark.parametrize("each", [1, 100])
def test_nothing_more_is_read_while_messages_wait_for_a_reader(each: int) -> None:
    async def test(one: Conversation) -> None:
        sent = 0
        while one.transport.is_reading():
            one.connection.data_received(frames(*range(sent, sent + each)))
            sent += each
        assert sent == max(17, each)
        assert one.messages == []
        one.read()
        await turns()
        assert numbers(one.messages) == list(range(sent))
        assert one.transport.is_reading()

    connected(test)


@pytest.mark.parametrize("count", [1, 50, 51, 1000])
@pytest.mark.parametrize("reads", [True, False], ids=["while it is read", "before it is read"])
def test_all_that_came_before_the_end_is_handed_on_before_the_end(count: int, *, reads: bool) -> None:
    async def test(one: Conversation) -> None:
        if reads:
            one.read()
            await turns()
        one.connection.data_received(frames(*range(count)))
        one.connection.connection_lost(None)
        if reads:
            assert numbers(one.messages) == list(range(count))
        one.read()
        assert one.reader is not None
        with pytest.raises(ConnectionClosed):
            await one.reader
        assert numbers(one.messages) == list(range(count))

    connected(test)


class Failing(list[bytes]):
    """Takes messages until a number comes."""

    def __init__(self, at: int) -> None:
        self._at = b"%d" % at

    def take(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self.append(message)
            if message == self._at:
                raise KeyError("poison")


@pytest.mark.parametrize("at", [0, 10, 49, 50, 149], ids="at {}".format)
@pytest.mark.parametrize("moment", ["before it is read", "as it comes", "at the end", "after a fragment"])
def test_an_error_of_whoever_takes_messages_ends_the_reading_and_is_raised_there(at: int, moment: str) -> None:
    taken = Failing(at)

    async def test(one: Conversation) -> None:
        assert isinstance(one.connection, Socket)
        begin = framed(TEXT, last=False) + framed(CONTINUATION, b"-1") if moment == "after a fragment" else b""
        if moment == "before it is read":
            one.connection.data_received(frames(*range(150)))
        reader = asyncio.create_task(one.connection.pass_on(taken.take))
        await turns()
        if moment != "before it is read":
            one.connection.data_received(begin + frames(*range(150)))
        if moment == "at the end":
            one.connection.connection_lost(None)
        with pytest.raises(KeyError, match="poison"):
            await reader
        if moment != "at the end":
            one.connection.data_received(frames(7))
        await turns()

    connected(test)

    assert taken == ([b"-1"] if moment == "after a fragment" else []) + [b"%d" % number for number in range(at + 1)]


@pytest.mark.parametrize("fragment", [False, True])
def test_once_its_reader_is_cancelled_nothing_is_handed_on(*, fragment: bool) -> None:
    async def test(one: Conversation) -> None:
        one.read()
        assert one.reader is not None
        await turns()
        begin = framed(TEXT, last=False) + framed(CONTINUATION, b"0") if fragment else frames(0)
        one.connection.data_received(begin + frames(*range(1, 150)))
        one.reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one.reader
        came = len(one.messages)
        one.connection.data_received(frames(150))
        await turns()
        assert len(one.messages) == came < 150
        # The end of the connection is read; behind a fragment, that is the library's business.
        assert one.transport.is_reading() or fragment

    connected(test)


def test_every_chunk_is_counted() -> None:
    async def test(one: Conversation) -> None:
        assert isinstance(one.connection, Socket)
        before = one.connection.chunks
        for chunk in (b"\x81", b"\x03on", b"e" + frames(2) + b"\x01", b"\x00", b"\x80\x00"):
            one.connection.data_received(chunk)
        assert one.connection.chunks - before == 5

    connected(test)
