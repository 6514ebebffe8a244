"""Who is let in over HTTP, what is told to those who are to be, and that nobody else learns the token."""

import asyncio
import json
import logging
import re
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from mcp.client import Client
from support.mcp import CLIENT, Era, asking, client_of, eras
from support.toy import Toy

from pmlive import Manager
from pmlive.mcp.http import HttpServer, bearer
from pmlive.mcp.server import build_server

JSON = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT},
}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "a"}}}


@contextmanager
def site(toy: Toy | None = None) -> Generator[HttpServer]:
    served = HttpServer(build_server(toy or Toy()), 0)
    try:
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="module")
def served() -> Generator[HttpServer]:
    with site() as made:
        yield made


def ask(
    served: HttpServer, headers: list[tuple[str, str]], *, method: str = "POST", path: str = "/mcp"
) -> httpx.Response:
    url = f"http://127.0.0.1:{served.port}{path}"
    content = json.dumps(INITIALIZE) if method == "POST" else None
    sent = [(name.encode(), value.encode("latin-1")) for name, value in [*JSON.items(), *headers]]
    return httpx.request(method, url, content=content, headers=sent, timeout=30, trust_env=False)


# --- the token ---


@pytest.mark.parametrize(
    "given",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer wrong"],
        ["Bearer {token}x"],
        ["Bearer {start}"],
        ["Bearer x{token}"],
        ["Bearer {upper}"],
        ["Bearer {token} {token}"],
        ["Bearer\t{token}"],
        ["Bearer={token}"],
        ["{token}"],
        ["Token {token}"],
        ["Basic {token}"],
        ["Digest {token}"],
        ["Bearer {token}", "Bearer {token}"],
        ["Bearer {token}", "Bearer wrong"],
        ["Bearer wrong", "Bearer {token}"],
        ["Bearer wrong, Bearer {token}"],
        ["Bearer \xe9"],
    ],
)
def test_whoever_does_not_bear_the_token_as_it_is_to_be_borne_is_refused(served: HttpServer, given: list[str]) -> None:
    token = served.token
    words = [one.format(token=token, start=token[:-1], upper=token.swapcase()) for one in given]

    answer = ask(served, [("authorization", one) for one in words])

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["connection"] == "close"
    assert token not in answer.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("cookie", "token={}"), ("x-api-key", "{}"), ("proxy-authorization", "Bearer {}"), ("mcp-session-id", "{}")],
)
def test_the_token_counts_in_no_other_header(served: HttpServer, name: str, value: str) -> None:
    assert ask(served, [(name, value.format(served.token))]).status_code == 401


@pytest.mark.parametrize("name", ["token", "access_token", "authorization"])
def test_the_token_counts_in_no_address(served: HttpServer, name: str) -> None:
    for value in (served.token, f"Bearer {served.token}"):
        assert ask(served, [], path=f"/mcp?{name}={value}").status_code == 401
    assert ask(served, [], path=f"/mcp/{served.token}").status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
@pytest.mark.parametrize("path", ["/mcp", "/", "/.well-known/oauth-protected-resource", "/none"])
def test_no_method_and_no_path_is_open(served: HttpServer, method: str, path: str) -> None:
    assert ask(served, [], method=method, path=path).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(served: HttpServer, scheme: str) -> None:
    assert ask(served, [("authorization", f"{scheme} {served.token}")]).status_code == 200


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_nothing_is_done_for_who_does_not_bear_it(version: str) -> None:
    toy = Toy()
    with site(toy) as served:
        headers = {**JSON, "mcp-protocol-version": version}
        for token in ("wrong", served.token[1:]):
            answer = httpx.post(served.url, json=CALL, headers=headers | bearer(token), timeout=30)
            assert answer.status_code == 401
    assert toy.arguments == []


@eras
def test_a_client_of_the_sdk_without_the_token_gets_nowhere(era: Era) -> None:
    async def refused(url: str) -> None:
        with pytest.raises(BaseException) as raised:  # noqa: PT011  # whatever the SDK says of a 401
            async with asyncio.timeout(30), Client(url, mode=era) as client:
                await client.list_tools()
        assert not isinstance(raised.value, TimeoutError)

    with site() as served:
        asyncio.run(refused(served.url))


def test_every_server_has_a_token_of_its_own_of_256_bits_or_more() -> None:
    tokens = set[str]()
    for _ in range(3):
        with site() as served:
            tokens.add(served.token)
    assert len(tokens) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43,}", token) for token in tokens)


def test_the_token_is_in_no_log_and_in_nothing_that_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    logging.getLogger("uvicorn").setLevel(1)
    with Manager(venue="sim") as manager:
        served = manager.serve_mcp()
        with pytest.raises(ValueError, match="served at") as refused:
            manager.serve_mcp(served.port + 1)

        async def status(client: object) -> None:
            del client

        for era in ("legacy", "2026-07-28"):
            asking(served, era, status)
        httpx.post(served.url, json=CALL, headers=bearer("wrong"), timeout=30)
        shown = [repr(served), str(served), f"{served}", str(vars(served)), str(refused.value), str(manager.status())]

    assert served.token not in caplog.text
    assert not [text for text in shown if served.token in text]


# --- names and origins ---


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200),
        ("https://localhost:8888", 200),
        ("http://127.0.0.1:1", 200),
        ("http://[::1]:65535", 200),
        ("http://localhost:80@evil.example", 403),
        ("http://localhost:80.evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://127.0.0.1.evil.example:80", 403),
        ("http://localhost:80/", 403),
        ("http://localhost:80/path", 403),
        ("http://localhost:80?q", 403),
        ("http://localhost:", 403),
        ("http://localhost:123456", 403),
        ("http://localhost:8x", 403),
        ("http://user@localhost", 403),
        ("http://evil.example", 403),
        ("http://127.0.0.2", 403),
        ("http://0.0.0.0", 403),
        ("ftp://localhost", 403),
        ("file://", 403),
        ("chrome-extension://localhost", 403),
        ("null", 403),
        ("*", 403),
        ("", 403),
        ("localhost", 403),
        ("http://localhost http://evil.example", 403),
    ],
)
def test_only_pages_of_this_computer_are_answered(served: HttpServer, origin: str, status: int) -> None:
    assert ask(served, [*bearer(served.token).items(), ("origin", origin)]).status_code == status


def test_two_origins_are_none(served: HttpServer) -> None:
    both = [("origin", "http://localhost"), ("origin", "http://evil.example")]
    assert ask(served, [*bearer(served.token).items(), *both]).status_code in (400, 403)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:9999", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("localhost:80@evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
        ("127.0.0.1:evil", 421),
        ("0.0.0.0:80", 421),
    ],
)
def test_only_by_its_own_names_is_this_computer_asked(served: HttpServer, host: str, status: int) -> None:
    assert ask(served, [*bearer(served.token).items(), ("host", host)]).status_code == status


def test_strangers_names_are_not_looked_at_without_the_token(served: HttpServer) -> None:
    assert ask(served, [("host", "evil.example"), ("origin", "http://evil.example")]).status_code == 401


# --- what clients are told ---


def test_the_configuration_is_what_lets_a_client_in() -> None:
    with Manager(venue="sim") as manager:
        served = manager.serve_mcp()
        (entry,) = json.loads(served.config("json"))["mcpServers"].values()
        words = shlex.split(served.config("code"))

        assert entry["type"] == "http"
        assert httpx.post(entry["url"], json=INITIALIZE, headers=JSON | entry["headers"], timeout=30).status_code == 200
        assert words[:6] == ["claude", "mcp", "add", "--transport", "http", "pmlive"]
        assert words[6:] == [served.url, "--header", f"Authorization: Bearer {served.token}"]
        assert served.config("code") in served.config()
        assert served.config("json") in served.config()
        with pytest.raises(ValueError, match="invalid kind 'x'; expected one of: all, code, json"):
            served.config("x")  # pyright: ignore[reportArgumentType] - callers may be untyped


def test_a_configuration_in_a_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    new, there, elsewhere = tmp_path / "new.json", tmp_path / "there.json", tmp_path / "elsewhere"
    there.write_text("x")
    there.chmod(0o666)
    elsewhere.write_text("precious")
    (tmp_path / "link.json").symlink_to(elsewhere)
    with Manager(venue="sim") as manager:
        served = manager.serve_mcp()
        for path in (new, there, tmp_path / "link.json"):
            assert served.write_config(path) == path
            assert path.stat().st_mode & 0o777 == 0o600
            assert not path.is_symlink()
            assert json.loads(path.read_text()) == json.loads(served.config("json"))
        with pytest.raises(FileNotFoundError):
            served.write_config(tmp_path / "none" / "file.json")
    assert elsewhere.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link.json", "new.json", "there.json"]


@eras
def test_the_sdk_s_client_connects_by_what_the_server_gives(era: Era) -> None:
    async def names(served: HttpServer) -> None:
        async with asyncio.timeout(30), client_of(served, era) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"echo", "wait", "break"}

    with site() as served:
        asyncio.run(names(served))
