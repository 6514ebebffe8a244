"""A ``.env`` that came with somebody's folder: the addresses in it get no credentials that are not its own."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from support.http import Answer, Request, serving
from support.waiting import wait_until
from support.ws import Peer, SocketServer, serving_sockets

import pmlive as pm
from pmlive.cli.doctor import check_credentials
from pmlive.credentials import Credentials
from pmlive.errors import AuthError
from pmlive.settings import NAMES, AddressField, Variables, Venue

Source: TypeAlias = Literal["environment", "file", "argument"]

SECRET = "Q2FuYXJ5U2VjcmV0Q2FuYXJ5U2VjcmV0Q2FuYXJ5U2U="
THREE = {
    "POLYMARKET_API_KEY": "0a1b2c3d-1111-2222-3333-cafecafecafe",
    "POLYMARKET_SECRET": SECRET,
    "POLYMARKET_PASSPHRASE": "f00dfeed" * 8,
}
WALLET = {"POLYGON_PRIVATE_KEY": "0x" + "c0ffee5e" * 8}
ISSUED = json.dumps({"apiKey": THREE["POLYMARKET_API_KEY"], "secret": SECRET, "passphrase": "f00dfeed" * 8})
URL: dict[str, AddressField] = {
    "PMLIVE_CLOB_WS_URL": "clob_ws",
    "PMLIVE_PRICES_WS_URL": "prices_ws",
    "PMLIVE_CLOB_URL": "clob",
}

sources = pytest.mark.parametrize("of_url", ["environment", "file", "argument"])


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of its own, with no variable set that pmlive knows."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


class Places:
    """Where a test puts settings."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = folder / ".env"
        self._monkeypatch = monkeypatch
        self.addresses: dict[AddressField, str] = {}

    def put(self, source: Source, values: Mapping[str, str]) -> None:
        if source == "environment":
            for name, value in values.items():
                self._monkeypatch.setenv(name, value)
        elif source == "file":
            text = self._file.read_text() if self._file.exists() else ""
            self._file.write_text(text + "".join(f"{name}={value}\n" for name, value in values.items()))
            self._file.chmod(0o600)
        else:
            self.addresses |= {URL[name]: value for name, value in values.items()}

    def venue(self) -> Venue:
        with warnings.catch_warnings(action="ignore"):
            return Venue.from_environment(None, **self.addresses)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    return Places(tmp_path, monkeypatch)


async def silent(peer: Peer) -> None:
    """Take whatever comes."""
    async for _ in peer.messages():
        pass


@contextmanager
def listening(places: Places, name: str, of_url: Source) -> Generator[SocketServer]:
    """Serve a socket, and have a source name its address."""
    with serving_sockets(silent) as server:
        places.put(of_url, {name: f"{server.url}/ws"})
        yield server


def arrived(server: SocketServer) -> bool:
    return any(SECRET in text for text in server.texts)


def known(places: Places, of_keys: Source) -> Credentials:
    if of_keys == "argument":
        return Credentials(*THREE.values())
    places.put(of_keys, THREE)
    found = Credentials.from_environment()
    assert found is not None
    return found


def allowed(of_url: Source, of_keys: Source) -> bool:
    return of_url != "file" or of_keys == "file"


@sources
@pytest.mark.parametrize("of_keys", ["environment", "file", "argument"])
def test_the_user_channel_gets_no_keys_at_an_address_of_a_file_that_did_not_give_them(
    places: Places, of_url: Source, of_keys: Source
) -> None:
    with listening(places, "PMLIVE_CLOB_WS_URL", of_url) as server:
        if of_keys != "argument":
            places.put(of_keys, THREE)
        given = Credentials(*THREE.values()) if of_keys == "argument" else None
        with pm.Manager(places.venue(), credentials=given) as live:
            if allowed(of_url, of_keys):
                live.subscribe_user_orders()
                wait_until(lambda: arrived(server))
                return
            for subscribe in (live.subscribe_user_orders, live.subscribe_user_trades):
                with pytest.raises(AuthError, match=r"PMLIVE_CLOB_WS_URL comes from .*\.env, and .* from elsewhere"):
                    subscribe()
            assert live.subscriptions == []
    assert server.dials == []


@sources
@pytest.mark.parametrize("of_keys", ["environment", "file", "argument"])
def test_the_price_streams_get_no_keys_at_an_address_of_a_file_that_did_not_give_them(
    places: Places, of_url: Source, of_keys: Source
) -> None:
    with listening(places, "PMLIVE_PRICES_WS_URL", of_url) as server:
        keys = known(places, of_keys)
        with pm.Manager(places.venue(), credentials=keys) as live:
            if allowed(of_url, of_keys):
                live.subscribe_reference_prices("btcusd")
                wait_until(lambda: arrived(server))
                return
            with pytest.raises(AuthError, match="PMLIVE_PRICES_WS_URL comes from"):
                live.subscribe_reference_prices("btcusd")
    assert server.dials == []


@sources
@pytest.mark.parametrize("of_keys", ["environment", "file"])
def test_a_wallet_signs_nothing_for_an_address_of_a_file_that_did_not_give_it(
    places: Places, of_url: Source, of_keys: Source
) -> None:
    def issuing(request: Request) -> Answer:
        return Answer("1793000000") if request.path == "/time" else Answer(ISSUED)

    with serving(issuing) as server:
        places.put(of_url, {"PMLIVE_CLOB_URL": server.url})
        places.put(of_keys, WALLET)
        if allowed(of_url, of_keys):
            assert Credentials.from_environment(venue=places.venue()) is not None
            assert "/auth/derive-api-key" in server.paths
            return
        with pytest.raises(AuthError, match=r"PMLIVE_CLOB_URL comes from .*, and POLYGON_PRIVATE_KEY from elsewhere"):
            Credentials.from_environment(venue=places.venue())
    assert server.requests == []


@pytest.mark.parametrize("of_wallet", ["environment", "file"])
def test_what_a_wallet_derived_is_sent_where_the_wallet_s_own_source_says(places: Places, of_wallet: Source) -> None:
    def issuing(request: Request) -> Answer:
        return Answer("1793000000") if request.path == "/time" else Answer(ISSUED)

    with serving(issuing) as rest, listening(places, "PMLIVE_CLOB_WS_URL", "file") as server:
        places.put("environment", {"PMLIVE_CLOB_URL": rest.url})
        places.put(of_wallet, WALLET)
        with pm.Manager(places.venue()) as live:
            if of_wallet == "file":
                live.subscribe_user_orders()
                wait_until(lambda: arrived(server))
                return
            with pytest.raises(AuthError, match="PMLIVE_CLOB_WS_URL comes from"):
                live.subscribe_user_orders()
    assert server.dials == []


@pytest.mark.parametrize("elsewhere", THREE)
def test_keys_that_only_in_part_are_the_file_s_are_not_the_file_s(places: Places, elsewhere: str) -> None:
    places.put("file", {name: value for name, value in THREE.items() if name != elsewhere})
    places.put("environment", {elsewhere: THREE[elsewhere]})
    places.put("file", {"PMLIVE_CLOB_WS_URL": "wss://example.com/ws"})
    found = Credentials.from_environment()
    assert found is not None

    with pytest.raises(AuthError, match=elsewhere):
        places.venue().check_recipient("clob_ws", found.origin)


def test_the_file_of_another_folder_is_another_source(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.put("file", {"PMLIVE_CLOB_WS_URL": "wss://example.com/ws"})
    venue = places.venue()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    Places(tmp_path / "mine", monkeypatch).put("file", THREE)
    found = Credentials.from_environment()
    assert found is not None

    with pytest.raises(AuthError):
        venue.check_recipient("clob_ws", found.origin)


@pytest.mark.parametrize("name", URL)
def test_polymarket_s_own_address_may_stand_in_the_file(places: Places, name: str) -> None:
    places.put("environment", THREE)
    places.put("file", {name: f"{getattr(Venue(), URL[name])}/"})
    found = Credentials.from_environment()
    assert found is not None

    with warnings.catch_warnings(action="error"):
        Venue.from_environment().check_recipient(URL[name], found.origin)


@pytest.mark.parametrize("name", ["PMLIVE_LIVE_DATA_URL", "PMLIVE_GAMMA_URL", *URL])
def test_an_address_of_the_file_is_told_once_with_the_file_and_the_host(
    places: Places, tmp_path: Path, name: str
) -> None:
    scheme = "https" if name in ("PMLIVE_CLOB_URL", "PMLIVE_GAMMA_URL") else "wss"
    places.put("file", {name: f"{scheme}://example.com/some/path"})

    with warnings.catch_warnings(record=True, action="always") as told:
        for _ in range(3):
            Venue.from_environment()

    (one,) = told
    assert f"{name} comes from {tmp_path / '.env'}: {scheme}://example.com is asked instead of" in str(one.message)


def test_an_address_of_the_environment_or_of_the_program_is_not_told_of(places: Places) -> None:
    places.put("environment", {"PMLIVE_CLOB_URL": "https://example.com"})
    places.put("file", {"PMLIVE_GAMMA_URL": "https://example.com", "PMLIVE_DATA_DIR": "somewhere"})
    with warnings.catch_warnings(action="error"):
        assert Venue.from_environment(gamma="https://example.org").files == ()


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pmlive", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_commands_tell_it_too(places: Places, tmp_path: Path) -> None:
    with serving(lambda _: Answer("[]")) as server:
        places.put("file", {"PMLIVE_GAMMA_URL": server.url})
        assert ran(tmp_path, "search", "words").stderr.count("PMLIVE_GAMMA_URL comes from") == 1


@pytest.mark.parametrize("of_keys", ["environment", "file"])
@pytest.mark.parametrize("keys", [THREE, WALLET], ids=["keys", "wallet"])
def test_the_doctor_finds_it(places: Places, of_keys: Source, keys: Mapping[str, str]) -> None:
    places.put("file", {"PMLIVE_CLOB_WS_URL": "wss://example.com/ws"})
    places.put(of_keys, keys)
    with warnings.catch_warnings(action="ignore"):
        verdict = check_credentials(Variables.read())
    assert verdict.state == ("ok" if of_keys == "file" else "problem")
    assert ("PMLIVE_CLOB_WS_URL comes from" in verdict.found) is (of_keys != "file")


# --- what else may stand there under that name ---


def test_a_pipe_of_that_name_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    with pytest.warns(UserWarning, match="was not read: it is not a regular file"):
        assert not Variables.read(tmp_path).keys() & set(URL)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_link_to_a_device_is_not_read(tmp_path: Path, device: str) -> None:
    (tmp_path / ".env").symlink_to(device)
    with pytest.warns(UserWarning, match="was not read: it is not a regular file"):
        Variables.read(tmp_path)


def test_a_file_without_measure_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / ".env").open("wb") as file:
        file.write(b"PMLIVE_CLOB_URL=https://example.com\n")
        file.truncate(1 << 33)
    with pytest.warns(UserWarning, match="was not read: it is larger than 1,048,576 bytes"):
        assert "PMLIVE_CLOB_URL" not in Variables.read(tmp_path)


def test_a_folder_or_a_link_that_leads_nowhere_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".env").mkdir()
    (tmp_path / ".env").symlink_to(tmp_path / "nowhere")
    with warnings.catch_warnings(action="error"):
        Variables.read(tmp_path / "a")
        Variables.read(tmp_path)


def test_the_file_of_a_folder_above_is_not_looked_at(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.put("file", {"PMLIVE_CLOB_URL": "https://example.com", **THREE})
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert Venue.from_environment() == Venue()
    assert Credentials.from_environment() is None
