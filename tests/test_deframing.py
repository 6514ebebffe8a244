"""Which frames are cut out of the bytes of a WebSocket, and which are left as they came."""

import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, framed

from pmlive.feed.deframing import Deframer

LIMIT = 100_000
NEXT = framed(TEXT, b"next")


def encoded(opcode: int, length: int, length_bytes: int) -> tuple[int, bytes, int]:
    """Make a frame whose length takes at least so many bytes of its own."""
    least = 0 if length <= 125 else 2 if length < 1 << 16 else 8
    return opcode, bytes(length), max(least, length_bytes)


lengths = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 65_535, 65_536, LIMIT]))
plain = st.builds(encoded, st.sampled_from([TEXT, BINARY]), lengths, st.sampled_from([0, 0, 2, 8]))
controls = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125), st.just(0))


def cut(chunks: Iterable[bytes], *, limit: int = LIMIT) -> tuple[list[bytes], bytes, Deframer]:
    """Feed chunks; return the messages, the other bytes, and what was fed."""
    deframer, messages = Deframer(limit), list[bytes]()
    others = b"".join([deframer.feed(chunk, messages) for chunk in chunks])
    return messages, others, deframer


def parts(data: bytes, places: list[int]) -> list[bytes]:
    """Part bytes at places, which are shares of their length in thousandths."""
    ends = [0, *sorted(len(data) * place // 1000 for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@given(st.lists(plain | controls, max_size=12), st.lists(st.integers(0, 1000), max_size=12))
def test_plain_frames_are_cut_out_wherever_their_bytes_are_parted(
    frames: list[tuple[int, bytes, int]], places: list[int]
) -> None:
    data = b"".join(framed(opcode, payload, length_bytes=size) for opcode, payload, size in frames)

    messages, others, deframer = cut(parts(data, places))

    assert messages == [payload for opcode, payload, _ in frames if opcode in (TEXT, BINARY)]
    assert others == b"".join(framed(opcode, payload) for opcode, payload, _ in frames if opcode in (PING, PONG))
    assert not deframer.has_ended
    assert deframer.end() == b""


UNUSUAL = {
    "the first fragment": framed(TEXT, b"some", last=False),
    "the first binary fragment": framed(BINARY, b"some", last=False),
    "an empty first fragment": framed(TEXT, b"", last=False),
    "a later fragment": framed(CONTINUATION, b"more", last=False),
    "the last fragment": framed(CONTINUATION, b"rest"),
    "a compressed text": framed(TEXT, b"\xaa\x02\x00", reserved=4),
    "the second reserved bit": framed(TEXT, b"some", reserved=2),
    "the third reserved bit": framed(BINARY, b"some", reserved=1),
    "a reserved data frame": framed(0x3, b"some"),
    "a reserved control frame": framed(0xB, b"some"),
    "a masked text": framed(TEXT, b"some", mask=b"\x01\x02\x03\x04"),
    "a masked empty text": framed(TEXT, mask=b"\x01\x02\x03\x04"),
    "a masked ping": framed(PING, b"some", mask=b"\x01\x02\x03\x04"),
    "a message above the limit": framed(TEXT, bytes(LIMIT + 1)),
    "a length of 63 bits": b"\x81\x7f" + b"\x7f" + b"\xff" * 7,
    "a length of 64 bits": b"\x81\x7f" + b"\xff" * 8,
    "a close": framed(CLOSE, b"\x03\xe8bye"),
    "an empty close": framed(CLOSE),
    "a long ping": framed(PING, bytes(126)),
    "a ping with a long length": framed(PING, b"some", length_bytes=2),
    "a long pong": framed(PONG, bytes(70_000)),
    "a part of a ping": framed(PING, b"some", last=False),
    "a compressed pong": framed(PONG, b"some", reserved=4),
}


@pytest.mark.parametrize("name", UNUSUAL)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 30], ids="chunks of {}".format)
def test_from_an_unusual_frame_on_all_bytes_are_left_as_they_came(name: str, size: int) -> None:
    data = NEXT + framed(PING, b"before") + UNUSUAL[name] + NEXT

    messages, others, deframer = cut([data[at : at + size] for at in range(0, len(data), size)])

    assert messages == [b"next"]
    assert others == data[len(NEXT) :]
    assert deframer.has_ended
    assert deframer.end() == b""


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_frame_is_left_as_soon_as_its_header_shows_it(name: str) -> None:
    """Nothing of it is waited for: a length that is too big says so before any of the bytes come."""
    frame = UNUSUAL[name]
    header = frame[:10] if "limit" in name or "bits" in name else frame[:2]

    _, others, deframer = cut([header])

    assert others == header
    assert deframer.has_ended


@pytest.mark.parametrize("limit", [0, 1, 125, 126, 1000, 65_536])
def test_a_message_of_the_limit_is_the_longest_that_is_cut_out(limit: int) -> None:
    messages, _, deframer = cut([framed(TEXT, bytes(limit)) + framed(TEXT, bytes(limit + 1))], limit=limit)

    assert messages == [bytes(limit)]
    assert deframer.has_ended


@given(st.integers(0, 400))
def test_the_beginning_of_a_frame_is_returned_at_the_end(length: int) -> None:
    frame = framed(TEXT, bytes(range(256)) * 2)

    messages, others, deframer = cut(parts(NEXT + frame[:length], [300, 700]))

    assert messages == [b"next"]
    assert others == b""
    assert deframer.end() == frame[:length]
    assert deframer.end() == b""
    assert deframer.feed(NEXT, messages) == NEXT


def test_text_is_not_decoded() -> None:
    assert cut([framed(TEXT, b"\xff\xfe")])[0] == [b"\xff\xfe"]


def test_a_long_message_in_many_parts_is_copied_a_few_times_only() -> None:
    """Joined at each part, ten megabytes in parts of 4 kB would be copied more than a thousand times."""

    frame = framed(BINARY, bytes(10_000_000))
    deframer, messages = Deframer(1 << 24), list[bytes]()
    made = 0
    tracemalloc.start()
    try:
        for at in range(0, len(frame), 4096):
            chunk = frame[at : at + 4096]
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            deframer.feed(chunk, messages)
            made += tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()

    assert messages == [bytes(10_000_000)]
    assert made < 4 * len(frame)
