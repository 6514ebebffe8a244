"""A real HTTP server on loopback that answers as a test says."""

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import msgspec

__all__ = ["Answer", "Answering", "Request", "Server", "serving"]


class Request(msgspec.Struct, frozen=True):
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]


class Answer(msgspec.Struct, frozen=True):
    body: bytes | str = b""
    status: int = 200
    headers: Mapping[str, str] = {}


Answering: TypeAlias = Callable[[Request], Answer]


class Server(msgspec.Struct):
    url: str
    requests: list[Request]

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


@contextmanager
def serving(answer: Answering) -> Generator[Server]:
    server = Server("", [])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            address = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, address.path, parse_qs(address.query), headers)
            server.requests.append(request)
            reply = answer(request)
            body = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.send_response(reply.status)
            for name, value in {
                "content-type": "application/json",
                **reply.headers,
                "content-length": str(len(body)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = handle_any  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            """Keep quiet."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    server.url = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join(5)
