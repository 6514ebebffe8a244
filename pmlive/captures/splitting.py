"""From bytes to lines: byte order marks, UTF-16, lines that are too long, and text that is torn off."""

import codecs
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

from pmlive.captures.packed import Broken

__all__ = ["LONGEST", "Piece", "Torn", "lines_of", "text_of"]

# The venue's frames have 16 MiB at most.
LONGEST = 16 << 20
_UTF8 = codecs.BOM_UTF8
# The marks of UTF-32 begin as those of UTF-16 do.
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"{\0", "utf-16-le"),
    (b"[\0", "utf-16-le"),
    (b"\0{", "utf-16-be"),
    (b"\0[", "utf-16-be"),
)


class Torn(msgspec.Struct, frozen=True):
    """The beginning of a line whose end is missing."""

    text: bytes


Piece: TypeAlias = bytes | Torn | Broken


def text_of(chunks: Iterable[bytes | Broken]) -> Iterator[bytes | Broken]:
    """Give text as UTF-8, whatever Unicode it is in."""
    decoder: codecs.IncrementalDecoder | None = None
    is_first = True
    for chunk in chunks:
        if isinstance(chunk, Broken):
            yield chunk
            decoder = None if decoder is None else type(decoder)(decoder.errors)
            continue
        if is_first:
            is_first = False
            name = next((name for mark, name in _ENCODINGS if chunk.startswith(mark)), None)
            # What is no Unicode stays wrong, so that the line is malformed and not silently another.
            decoder = None if name is None else codecs.getincrementaldecoder(name)("surrogatepass")
        yield chunk if decoder is None else _as_utf8(decoder, chunk)


def _as_utf8(decoder: codecs.IncrementalDecoder, chunk: bytes) -> bytes:
    try:
        return decoder.decode(chunk).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        decoder.reset()
        return b"\xff" + chunk


def lines_of(chunks: Iterable[bytes | Broken]) -> Iterator[Piece]:
    """Yield lines without their ends; one that is too long or torn off is told as such."""
    line = _Line()
    for chunk in chunks:
        if isinstance(chunk, Broken):
            yield from line.torn()
            yield chunk
            continue
        first, *others = chunk.split(b"\n")
        line.add(first)
        for text in others:
            yield from line.take()
            line.add(text)
    yield from line.last()


class _Line:
    """The line that is being read."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, text: bytes) -> None:
        """Take more of it, but no more than is allowed."""
        self._size += len(text)
        if self._size <= LONGEST:
            self._parts.append(text)
        else:
            del self._parts[1:]

    def take(self) -> Iterator[Piece]:
        """Give it, and begin the next."""
        text, size = b"".join(self._parts).removeprefix(_UTF8), self._size
        self._parts, self._size = [], 0
        if size > LONGEST:
            yield Broken(f"a line of {size:,} bytes is longer than {LONGEST:,}, and was left out")
            return
        if text.startswith(b"\0"):
            zeros = len(text) - len(text.lstrip(b"\0"))
            yield Broken(f"{zeros:,} bytes are zeros, as a crash of the machine leaves them")
        yield text.lstrip(b"\0")

    def torn(self) -> Iterator[Piece]:
        """Give what there is of it."""
        if self._size:
            yield from (Torn(piece) if isinstance(piece, bytes) else piece for piece in self.take())

    def last(self) -> Iterator[Piece]:
        """Give the last line, which may have no end."""
        if self._size:
            yield from self.take()
