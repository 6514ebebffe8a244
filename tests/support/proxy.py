"""Little proxies on loopback, HTTP and SOCKS 5, that note whom they are asked for and take everybody to one place."""

import base64
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer

import msgspec

__all__ = ["Proxying", "proxying", "socks"]


class Proxying(msgspec.Struct):
    """What a test sees of the proxy: the first lines it was sent, and the users it was told."""

    port: int
    asked: list[str] = []
    users: list[str] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.place}"


@contextmanager
def proxying(*, to: int | None = None, answer: str = "502 Bad Gateway") -> Generator[Proxying]:
    """Connect whoever asks with a port of loopback, whatever place was asked for; without one, answer like this."""
    seen = Proxying(0)

    def handle(client: socket.socket) -> None:
        head = _head(client)
        if not head:
            return
        seen.asked.append(head[0])
        seen.users.extend(
            base64.b64decode(line.split()[-1]).decode() for line in head if line.lower().startswith("proxy-auth")
        )
        if to is None:
            client.sendall(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        else:
            _connect(client, to, b"HTTP/1.1 200 Connection established\r\n\r\n")

    with _listening(handle, seen):
        yield seen


@contextmanager
def socks(*, to: int) -> Generator[Proxying]:
    """Do as ``proxying`` does, in the words of SOCKS 5 (RFC 1928) with user and password (RFC 1929)."""
    seen = Proxying(0)

    def handle(client: socket.socket) -> None:
        version, methods = client.recv(2)
        assert version == 5
        assert 2 in client.recv(methods)
        client.sendall(b"\x05\x02")
        client.recv(1)
        user, password = (client.recv(client.recv(1)[0]).decode() for _ in range(2))
        seen.users.append(f"{user}:{password}")
        client.sendall(b"\x01\x00")
        client.recv(3)
        kind = client.recv(1)[0]
        host = client.recv(client.recv(1)[0]).decode() if kind == 3 else client.recv(4 if kind == 1 else 16).hex()
        seen.asked.append(f"{host}:{int.from_bytes(client.recv(2), 'big')}")
        _connect(client, to, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")

    with _listening(handle, seen):
        yield seen


@contextmanager
def _listening(handle_client: Callable[[socket.socket], None], seen: Proxying) -> Generator[None]:
    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            handle_client(self.request)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        seen.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            listener.shutdown()
            thread.join(5)


def _connect(client: socket.socket, to: int, answer: bytes) -> None:
    with socket.create_connection(("127.0.0.1", to)) as server:
        client.sendall(answer)
        back = threading.Thread(target=_pump, args=(server, client))
        back.start()
        _pump(client, server)
        back.join(10)


def _head(client: socket.socket) -> list[str]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(4096)
        if not piece:
            return []
        data += piece
    return data.split(b"\r\n\r\n")[0].decode().split("\r\n")


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
