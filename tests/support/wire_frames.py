"""WebSocket frames as the bytes that a server sends, also such as none should send."""

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "framed"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def framed(
    opcode: int,
    payload: bytes = b"",
    *,
    last: bool = True,
    reserved: int = 0,
    mask: bytes = b"",
    length_bytes: int | None = None,
) -> bytes:
    """Write a frame, its length in 0, 2 or 8 bytes of its own: by default in as few as it needs."""
    length, masked = len(payload), 0x80 if mask else 0
    if length_bytes is None:
        length_bytes = 0 if length <= 125 else 2 if length < 1 << 16 else 8
    short = {0: length, 2: 126, 8: 127}[length_bytes]
    head = bytes(((0x80 if last else 0) | reserved << 4 | opcode, masked | short))
    data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return head + (length.to_bytes(length_bytes) if length_bytes else b"") + mask + data
