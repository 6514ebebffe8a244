"""Connections over HTTP, of strangers and of clients: few, each for a bounded time, and never at the feed's cost."""

import json
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from typing import IO

import httpx
import pytest
from support.mcp import CLIENT
from support.toy import Toy
from support.waiting import wait_until

from pmlive.mcp.connections import ConnectionLimits
from pmlive.mcp.http import HttpServer, bearer
from pmlive.mcp.server import build_server

JSON = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT},
}
PATIENCE = 30.0


@contextmanager
def site(connections: int = 8, patience: float = 0.4) -> Generator[HttpServer]:
    served = HttpServer(build_server(Toy()), 0, limits=ConnectionLimits(connections, patience))
    try:
        yield served
    finally:
        served.stop()


@contextmanager
def dialled(port: int) -> Generator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as one:
        yield one


def over(one: socket.socket) -> bool:
    """Wait for the other side to end a connection; what it says before does not matter."""
    try:
        while one.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


def answered(served: HttpServer, client: httpx.Client | None = None) -> bool:
    headers = JSON | bearer(served.token)
    with ExitStack() as stack:
        one = client or stack.enter_context(httpx.Client(timeout=PATIENCE, trust_env=False))
        return one.post(served.url, json=INITIALIZE, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"POST /mcp HT",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\nContent-Length: 9\r\n\r\n",
        b"\x16\x03\x01",
    ],
    ids=["nothing", "half a line", "half the headers", "no token", "something else"],
)
def test_a_connection_that_brings_no_whole_request_is_closed(said: bytes) -> None:
    with site() as served, dialled(served.port) as one:
        one.sendall(said)
        assert over(one)


def test_a_connection_that_brings_its_headers_byte_by_byte_is_closed() -> None:
    with site() as served, dialled(served.port) as one:
        one.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        one.settimeout(0.02)

        def closed() -> bool:
            try:
                one.sendall(b"x")
                return not one.recv(1)
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until(closed, PATIENCE, what="that it is closed")


def test_a_body_that_does_not_come_is_not_waited_for_even_with_the_token() -> None:
    with site() as served, dialled(served.port) as one:
        head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.token}\r\n"
        one.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert over(one)
        assert answered(served)


def test_a_connection_is_kept_for_another_request_and_not_for_ever() -> None:
    with site(patience=5.0) as served, closing(HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)) as one:
        sockets: list[socket.socket] = []
        for _ in range(2):
            one.request("POST", "/mcp", json.dumps(INITIALIZE), JSON | bearer(served.token))
            sockets.append(one.sock)
            answer = one.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
        assert sockets[0] is sockets[1]
        assert over(sockets[0])


def test_a_stream_that_is_listened_to_stays() -> None:
    with (
        site(connections=2) as served,
        httpx.Client(timeout=PATIENCE, trust_env=False, headers=JSON | bearer(served.token)) as client,
    ):
        session = {"mcp-session-id": client.post(served.url, json=INITIALIZE).headers["mcp-session-id"]}
        with client.stream("GET", served.url, headers=session) as stream:
            for _ in range(4):
                with dialled(served.port) as idle:
                    assert over(idle)
            assert answered(served)
            assert client.delete(served.url, headers=session).status_code == 200
            assert list(stream.iter_lines()) is not None


def test_those_that_say_nothing_make_room_for_whoever_asks() -> None:
    """With patience for all of them: it is their number alone that closes them."""
    with site(connections=4, patience=600) as served, ExitStack() as stack:
        idle = [stack.enter_context(dialled(served.port)) for _ in range(60)]
        assert answered(served)
        assert all(over(one) for one in idle[:50])


def test_when_all_are_being_answered_the_next_waits_its_turn() -> None:
    with (
        site(connections=2, patience=600) as served,
        httpx.Client(timeout=PATIENCE, trust_env=False, headers=JSON | bearer(served.token)) as client,
        ExitStack() as stack,
    ):
        streams: list[httpx.Response] = []
        for _ in range(3):
            opened = client.post(served.url, json=INITIALIZE, headers={"connection": "close"})
            session = {"mcp-session-id": opened.headers["mcp-session-id"]}
            streams.append(stack.enter_context(client.stream("GET", served.url, headers=session)))
        with dialled(served.port) as waiting:
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for stream in streams:
                stream.close()
            assert waiting.recv(12) == b"HTTP/1.1 401"


def test_a_quarter_of_the_descriptors_is_the_most_that_clients_get() -> None:
    code = (
        "import resource, sys\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), hard))\n"
        "from pmlive.mcp.connections import ConnectionLimits\n"
        "print(ConnectionLimits().connections)\n"
    )
    for soft, most in ((100, 25), (128, 32), (256, 64), (1024, 64)):
        ran = subprocess.run([sys.executable, "-c", code, str(soft)], capture_output=True, text=True, check=True)
        assert int(ran.stdout) == most


# A process with few descriptors that serves, and does as it is told on its standard input.
_CHILD = """
import os, resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
import pmlive as pm
with pm.Manager(venue="sim") as live:
    served = live.serve_mcp()
    venue = int(live.sim.environment()["PMLIVE_CLOB_URL"].rpartition(":")[2])
    print(served.port, served.token, flush=True)
    for line in sys.stdin:
        if line == "dial\\n":
            found = [socket.create_connection(("127.0.0.1", venue)) for _ in range(40)]
            [one.close() for one in found]
        if line == "lack\\n":
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) - 1, hard))
        if line == "have\\n":
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        print("done", flush=True)
"""


class Child:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout
        port, self.token = self._from.readline().split()
        self.port = int(port)

    def do(self, what: str) -> None:
        self._to.write(f"{what}\n")
        self._to.flush()
        assert self._from.readline() == "done\n"

    def answers(self) -> bool:
        url = f"http://127.0.0.1:{self.port}/mcp"
        headers = JSON | bearer(self.token)
        return httpx.post(url, json=INITIALIZE, headers=headers, timeout=PATIENCE, trust_env=False).status_code == 200


@contextmanager
def child(errors: IO[str]) -> Generator[Child]:
    command = [sys.executable, "-c", _CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            yield Child(process)
        finally:
            process.communicate(timeout=60)


linux = pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")


@linux
@pytest.mark.timeout(180)
def test_four_hundred_idle_connections_leave_the_feed_its_descriptors(tmp_path: object) -> None:
    with open(f"{tmp_path}/errors", "w+") as errors, child(errors) as other, ExitStack() as stack:  # noqa: PTH123
        for _ in range(400):
            stack.enter_context(dialled(other.port))
        for _ in range(3):
            other.do("dial")
            assert other.answers()
        errors.seek(0)
        assert errors.read() == ""


@linux
@pytest.mark.timeout(180)
def test_a_lack_of_descriptors_is_told_once_and_gets_over(tmp_path: object) -> None:
    with open(f"{tmp_path}/errors", "w+") as errors, child(errors) as other, ExitStack() as stack:  # noqa: PTH123
        assert other.answers()
        other.do("lack")
        stack.enter_context(dialled(other.port))

        def told() -> str:
            errors.seek(0)
            return errors.read()

        wait_until(told, PATIENCE, what="that the lack is told")
        for _ in range(20):
            other.do("nothing")
        other.do("have")
        assert other.answers()
        assert told().count("clients cannot connect") == 1
        assert len(told()) < 500


def test_what_strangers_send_at_will_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with site() as served:
        for said in (
            b"no http\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ):
            for _ in range(30):
                with dialled(served.port) as one:
                    one.sendall(said)
                    assert over(one)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) <= 1
