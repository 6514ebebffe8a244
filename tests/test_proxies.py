"""The way out: proxies and certificates of the environment, the same for sockets and HTTPS."""

import asyncio
import importlib.util
import ssl
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from support.certificates import self_signed
from support.feed import Notes, pooled
from support.http import Answer, serving
from support.proxy import proxying, socks
from support.waiting import until
from support.ws import Peer, serving_sockets

from pmlive import Manager, PmliveError
from pmlive.feed.dialling import probe
from pmlive.markets import Policy
from pmlive.markets.http import HttpClient
from pmlive.proxies import proxy_for, tls
from pmlive.settings import Venue

PROXY = "http://10.0.0.9:3128"
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WSS_PROXY", "WS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
SOCKS = all(importlib.util.find_spec(name) is not None for name in ("python_socks", "socksio"))
ONCE = Policy(attempts=1, timeout=5)


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# --- which variable ---


@pytest.mark.parametrize(
    ("url", "environment", "variable"),
    [
        ("https://v.example", {"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
        ("wss://v.example/ws", {"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
        ("https://v.example", {"https_proxy": PROXY}, "HTTPS_PROXY"),
        ("wss://v.example/ws", {"all_proxy": PROXY}, "ALL_PROXY"),
        ("https://v.example", {"ALL_PROXY": PROXY}, "ALL_PROXY"),
        ("wss://v.example/ws", {"WSS_PROXY": PROXY, "HTTPS_PROXY": "http://other"}, "WSS_PROXY"),
        ("https://v.example", {"WSS_PROXY": "http://other", "ALL_PROXY": PROXY}, "ALL_PROXY"),
        ("https://v.example", {"HTTPS_PROXY": PROXY, "ALL_PROXY": "http://other"}, "HTTPS_PROXY"),
        ("https://v.example", {"HTTPS_PROXY": "http://other", "https_proxy": PROXY}, "HTTPS_PROXY"),
        ("https://v.example", {"HTTPS_PROXY": "10.0.0.9:3128"}, "HTTPS_PROXY"),
        ("https://v.example", {"HTTPS_PROXY": f" {PROXY}/ "}, "HTTPS_PROXY"),
    ],
)
def test_sockets_and_https_are_sent_the_way_that_the_variables_say(
    url: str, environment: dict[str, str], variable: str
) -> None:
    found = proxy_for(url, environment)

    assert found is not None
    assert (found.address.reveal(), found.variable) == (PROXY, variable)


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        ("https://v.example", {}),
        ("https://v.example", {"HTTP_PROXY": PROXY}),
        ("https://v.example", {"HTTPS_PROXY": ""}),
        ("https://v.example", {"HTTPS_PROXY": PROXY, "https_proxy": ""}),
        *((url, {"ALL_PROXY": PROXY, "HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY}) for url in (
            "http://127.0.0.1:80", "ws://localhost:1/ws", "https://[::1]:3", "wss://127.9.9.9/", "https://LOCALHOST")),
    ],
)  # fmt: skip
def test_without_a_variable_and_on_loopback_the_way_is_direct(url: str, environment: dict[str, str]) -> None:
    assert proxy_for(url, environment) is None


def test_a_name_that_only_looks_like_loopback_is_reached_through_the_proxy() -> None:
    """The sockets decided by the text of the address, and https by its host."""
    for host in ("127.0.0.1.example.com", "v.example/127.", "localhost.example"):
        assert proxy_for(f"wss://{host}", {"ALL_PROXY": PROXY}) is not None


# --- NO_PROXY ---


@pytest.mark.parametrize("scheme", ["https", "wss"])
@pytest.mark.parametrize(
    ("host", "exceptions", "direct"),
    [
        ("v.example", "*", True),
        ("v.example", "v.example", True),
        ("v.example", "other, V.Example ,third", True),
        ("v.example", "other v.example", True),
        ("v.example", "v.example.", True),
        ("api.v.example", "v.example", True),
        ("api.v.example", ".v.example", True),
        ("v.example", ".v.example", True),
        ("api.v.example", "*.v.example", True),
        ("v.example:8443", "v.example:8443", True),
        ("v.example", "v.example:443", True),
        ("v.example", "https://v.example", True),
        ("v.example", "", False),
        ("v.example", ",, ,", False),
        ("v.example", "other.example", False),
        ("v.example", "api.v.example", False),
        ("evilv.example", "v.example", False),
        ("evilv.example", ".v.example", False),
        ("v.example", "v.example:80", False),
        ("v.example", "10.0.0.0/8,::1", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.0.0.0/8:443", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.1.2.3", "192.168.0.0/16", False),
        ("10.1.2.3", "2.3", False),
        ("10.1.2.3", "10.1.2.3:80", False),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("[2001:db8::1]", "[2001:db8::1]", True),
        ("[2001:db8::1]", "2001:DB8:0::1", True),
        ("[2001:db8::1]", "2001:db8::/32", True),
        ("[2001:db8::1]", "[2001:db8::]/32", True),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443", True),
        ("[2001:db8::1]", "[2001:db8::1]:80", False),
        ("[2001:db8::1]", "2001:db8::2", False),
        ("[2001:db8::1]", "fd00::/8", False),
        ("[::ffff:10.1.2.3]", "10.0.0.0/8", True),
        ("v.example", "::1,[::1],fd00::/8", False),
    ],
)
def test_what_no_proxy_names_is_reached_directly(scheme: str, host: str, exceptions: str, direct: bool) -> None:  # noqa: FBT001
    found = proxy_for(f"{scheme}://{host}/ws", {"ALL_PROXY": PROXY, "NO_PROXY": exceptions})

    assert (found is None) is direct


@pytest.mark.parametrize("entry", ["[::1", "10.0.0.0/99", "v.example:port", "fd00::/999", "a]b"])
def test_an_exception_that_cannot_be_read_is_refused_by_name(entry: str) -> None:
    with pytest.raises(PmliveError, match="NO_PROXY"):
        proxy_for("https://10.1.2.3", {"ALL_PROXY": PROXY, "NO_PROXY": entry})


# --- values ---


BROKEN = [
    "http://",
    "http://user:canary@",
    "http://user:canary@host:port",
    "http://host:99999",
    "http://host:0",
    "http://[::1",
    "ftp://user:canary@host:1",
    "socks4://user:canary@host:1",
    "http://user:can/ary@host:1",
    "http://host:1/path",
    "http://host:1?key=canary",
    "http://user:a://canary@host:1",
    "http://user:canary",
    "ht tp://host",
    "://",
    "http://hö.example:1",
    "http://host:1\x1b[31m",
]


@pytest.mark.parametrize("value", BROKEN)
def test_a_value_that_is_no_proxy_is_refused_by_name_and_shows_no_password(value: str) -> None:
    with pytest.raises(PmliveError) as refused:
        proxy_for("https://v.example", {"HTTPS_PROXY": value})

    said = str(refused.value)
    assert said.startswith("HTTPS_PROXY must have the form http://")
    assert "canary" not in said
    assert said.isprintable()


def test_a_proxy_is_shown_without_its_password() -> None:
    found = proxy_for("https://v.example", {"HTTPS_PROXY": "http://me:can%40ary@10.0.0.9"})

    assert found is not None
    assert found.address.reveal() == "http://me:can%40ary@10.0.0.9:80"
    assert repr(found) == "Proxy(http://***@10.0.0.9:80 (HTTPS_PROXY))"
    assert "ary" not in f"{found} {found.shown}"


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
def test_a_socks_proxy_is_taken_or_what_it_needs_is_named(scheme: str) -> None:
    environment = {"ALL_PROXY": f"{scheme}://me:canary@10.0.0.9"}

    if SOCKS:
        found = proxy_for("wss://v.example", environment)
        assert found is not None
        assert found.address.reveal().endswith("@10.0.0.9:1080")
        return
    with pytest.raises(PmliveError, match=r"ALL_PROXY names a SOCKS proxy.*pip install 'pmlive\[socks\]'") as refused:
        proxy_for("wss://v.example", environment)
    assert "canary" not in str(refused.value)


# --- in use ---


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of its own for venue.example, and what serves with it."""
    folder = tmp_path_factory.mktemp("certificates")
    return self_signed(folder, name="venue.example", alternative="DNS:venue.example")


async def answering(peer: Peer) -> None:
    await peer.answer()


def test_a_socket_goes_through_the_proxy_and_trusts_the_certificate_that_is_named(
    certified: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = certified

    async def watch() -> None:
        async with pooled("wss://venue.example/ws", notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: notes.books)

    notes = Notes()
    with serving_sockets(answering, tls=context) as server, proxying(to=int(server.url.rpartition(":")[2])) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http://", "http://me:can%40ary@"))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        asyncio.run(watch())

    assert proxy.asked[0] == "CONNECT venue.example:443 HTTP/1.1"
    assert proxy.users[0] == "me:can@ary"


async def ask(url: str, path: str) -> bytes | None:
    asker = HttpClient(url, ONCE)
    try:
        return await asker.get(path)
    finally:
        await asker.close()


def test_sockets_and_https_go_through_a_socks_proxy_which_looks_the_name_up(
    certified: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not SOCKS:
        pytest.skip("python-socks and socksio are not installed: the test of a SOCKS proxy DID NOT RUN")
    certificate, context = certified

    async def dial() -> None:
        assert await probe("wss://venue.example/ws", timeout=5) is None
        with pytest.raises(PmliveError, match="HTTP 426"):
            await ask("https://venue.example", "/time")

    with serving_sockets(answering, tls=context) as server, socks(to=int(server.url.rpartition(":")[2])) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://me:can%40ary@{proxy.place}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        asyncio.run(dial())

    assert proxy.asked == ["venue.example:443"] * 2
    assert proxy.users == ["me:can@ary"] * 2


def test_https_goes_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxying(answer="407 Proxy Authentication Required") as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http://", "http://me:canary@"))
        with pytest.raises(PmliveError, match="the proxy answered: 407"):
            asyncio.run(ask("https://venue.example", "/markets"))

    assert proxy.asked[0] == "CONNECT venue.example:443 HTTP/1.1"
    assert proxy.users[0] == "me:canary"


def test_a_proxy_that_refuses_is_told_of_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch() -> None:
        async with pooled("wss://venue.example/ws", notes) as pool:
            pool.want("market", ["1"])
            await until(lambda: len(proxy.asked) >= 2)
            said.append(pool.connections[0].last_error)

    notes, said = Notes(), list[str]()
    with proxying(answer="407 Proxy Authentication Required") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        asyncio.run(watch())

    assert "the proxy answered HTTP 407" in said[0]
    assert "asked again" in said[0]
    assert notes.errors == []


@pytest.mark.parametrize("exceptions", ["127.0.0.1", ""])
def test_loopback_is_asked_directly_whatever_the_variables_say(
    monkeypatch: pytest.MonkeyPatch, exceptions: str
) -> None:
    async def both(rest: str, socket: str) -> None:
        assert await ask(rest, "/time") == b"1"
        assert await probe(socket, timeout=5) is None

    with proxying() as proxy, serving(lambda _: Answer("1")) as http, serving_sockets(answering) as sockets:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", exceptions)
        asyncio.run(both(http.url, sockets.url))

    assert proxy.asked == []


def test_a_broken_variable_is_an_error_of_ours_where_a_manager_is_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://me:canary@10.0.0.9:1080")

    with Manager(Venue()) as live, pytest.raises(PmliveError, match="ALL_PROXY"):
        live.watch("0x" + "a" * 64)


def test_status_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxying() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http://", "http://me:canary@"))
        with Manager(Venue()) as live:
            with pytest.raises(PmliveError, match="the proxy answered: 502"):
                live.watch("0x" + "a" * 64)
            status = live.status()

    connections = cast("dict[str, dict[str, object]]", status["connections"])
    shown = f"http://***@{proxy.place} (ALL_PROXY)"
    assert [connections[name]["proxy"] for name in ("clob", "realtime")] == [shown, shown]
    assert "canary" not in str(status)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("ALL_PROXY", "socks4://me:canary@10.0.0.9:1080", 2),
        ("HTTPS_PROXY", "http://me:canary@10.0.0.9:port", 2),
        ("SSL_CERT_FILE", "/no/such/certificates.pem", 2),
        ("SSL_CERT_DIR", "/no/such/folder", 2),
    ],
)
def test_a_command_names_the_variable_that_is_broken_in_one_sentence(name: str, value: str, code: int) -> None:
    environment = {"PATH": "/usr/bin:/bin", name: value}
    run = subprocess.run(
        [sys.executable, "-m", "pmlive", "search", "election"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == code
    assert name in run.stderr
    assert "canary" not in run.stderr
    assert "Traceback" not in run.stderr
    assert "internal error" not in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


# --- certificates ---


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("name", ["missing.pem", "nothing.pem", ".", "x" * 5_000])
def test_certificates_that_are_not_there_or_none_are_named(
    variable: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nothing.pem").write_text("no certificate")
    monkeypatch.setenv(variable, str(tmp_path / name))

    if (variable, name) == ("SSL_CERT_DIR", "."):
        assert tls().cert_store_stats()["x509_ca"] == 0
        return
    with pytest.raises(PmliveError, match=variable):
        tls()


def test_without_a_variable_certificates_are_checked_with_those_of_the_system() -> None:
    context = tls()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] > 50
