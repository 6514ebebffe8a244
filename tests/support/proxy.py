"""A little HTTP proxy on loopback that notes whom it is asked for, and takes everybody to one place."""

import base64
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer

import msgspec

__all__ = ["Proxying", "proxying"]


class Proxying(msgspec.Struct):
    """What a test sees of the proxy: the first lines it was sent, and the users it was told."""

    port: int
    asked: list[str] = []
    users: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def proxying(*, to: int | None = None, answer: str = "502 Bad Gateway") -> Generator[Proxying]:
    """Connect whoever asks with a port of loopback, whatever place was asked for; without one, answer like this."""
    seen = Proxying(0)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            head = _head(client)
            if not head:
                return
            seen.asked.append(head[0])
            seen.users.extend(
                base64.b64decode(line.split()[-1]).decode() for line in head if line.lower().startswith("proxy-auth")
            )
            if to is None:
                client.sendall(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                return
            with socket.create_connection(("127.0.0.1", to)) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join(10)

    ThreadingTCPServer.allow_reuse_address = True
    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        seen.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield seen
        finally:
            listener.shutdown()
            thread.join(5)


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
