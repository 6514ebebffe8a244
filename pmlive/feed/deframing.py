"""Deframing: plain frames are cut out of the bytes of a WebSocket as they come, and the others are left as they are."""

__all__ = ["Deframer"]

_TEXT, _BINARY, _PING, _PONG = 0x81, 0x82, 0x89, 0x8A
# The first byte of each kind of frame that is cut out, and the largest second byte it may have: a larger one is masked,
# or a control frame that is too long. Any other first byte is a fragment, compressed, reserved or a close.
_LARGEST_SECOND_BYTE = {_TEXT: 127, _BINARY: 127, _PING: 125, _PONG: 125}
# The second byte is the length, up to 125, or says that it follows in two or eight bytes (RFC 6455, 5.2).
_LONGEST_SHORT, _TWO_BYTES = 125, 126


class Deframer:
    """Cuts the plain frames out of the bytes that one server sends, from the end of its handshake on.

    Plain are text and binary frames that are whole messages, and pings and pongs. At the first frame of another kind,
    or of a message above the limit, cutting ends for good: all that follows is the library's. Whether text is UTF-8 is
    not checked. A frame costs time in proportion to its length, however many parts it comes in.

    Args:
        limit: the most bytes of a message.
    """

    def __init__(self, limit: int) -> None:
        self.has_ended = False
        self._limit = limit
        # The beginning of a frame, in parts, and how many more bytes it takes to go on.
        self._held: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes, messages: list[bytes]) -> bytes:
        """Append the messages that are whole by now; return the other frames as they came.

        These are whole pings and pongs, and everything from the frame on that ends the cutting.
        """
        if self.has_ended:
            return data
        if self._held:
            self._held.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return b""
            data = b"".join(self._held)
            self._held.clear()
        others, at, size = b"", 0, len(data)
        while at < size:
            start, end = _payload(data, at, size)
            if start < 0 or end - start > self._limit:
                self.has_ended = True
                return others + data[at:]
            if end > size:
                self._held.append(data[at:])
                self._missing = end - size
                break
            if data[at] <= _BINARY:
                messages.append(data[start:end])
            else:
                others += data[at:end]
            at = end
        return others

    def end(self) -> bytes:
        """Cut nothing any more; return the beginning of the frame that has not come whole."""
        self.has_ended = True
        held = b"".join(self._held)
        self._held.clear()
        return held


def _payload(data: bytes, at: int, size: int) -> tuple[int, int]:
    """Return where the payload of a frame starts and ends; -1 of one that is not plain.

    While the header is not there, both are where it ends, as far as that is known.
    """
    start = at + 2
    if start > size:
        return start, start
    length = data[at + 1]
    if length > _LARGEST_SECOND_BYTE.get(data[at], -1):
        return -1, -1
    if length <= _LONGEST_SHORT:
        return start, start + length
    start = at + (4 if length == _TWO_BYTES else 10)
    if start > size:
        return start, start
    return start, start + int.from_bytes(data[at + 2 : start])
