"""Faults of connections and handshakes."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from pmlive.cli.faults.recorder import ImpatientManager
from pmlive.cli.faults.row import Expected, Row
from pmlive.cli.faults.scene import NotInTimeError, Scene
from pmlive.credentials import Credentials
from pmlive.errors import AuthError, PmliveError
from pmlive.settings import Variables, Venue
from pmlive.threads import single

__all__ = ["CONNECTIONS"]

_GONE = Expected(causes=frozenset({"disconnect"}))
# A connection that is given up for silence is a gap by silence, one that the other side ends is one by disconnect.
_GONE_OR_SILENT = Expected(causes=frozenset({"disconnect", "silence", "late opening book"}), patience=9.0, before=5.0)
_NEVER_HAD = Expected(
    causes=frozenset({"late opening book", "disconnect", "silence"}), recovers=False, before=60.0, refused="all"
)
_DROPPED = 0.3
_LOOP_SECONDS = 6.0
_MOST_DIALS_IN_LOOP = 16
_AUTH_SECONDS = 10.0
_MOST_TRIES = 3
_AWAY = 1.5


def _closed(code: int) -> Row:
    def act(scene: Scene) -> None:
        scene.hold_off()
        scene.sim.fault("close", channel="market", number=code)
        scene.until_refused()

    return Row(name=f"close with {code}", group="connection", act=act, expected=_GONE)


def _cut(manner: Literal["", "fin", "half frame", "reset"], name: str) -> Row:
    def act(scene: Scene) -> None:
        scene.hold_off()
        scene.sim.fault("drop", channel="market", detail=manner)
        scene.until_refused()

    return Row(name=name, group="connection", act=act, expected=_GONE)


def _accepted_and_closed(scene: Scene) -> None:
    before = len(scene.sim.dials)
    fault = scene.sim.fault("close", channel="market", seconds=_LOOP_SECONDS * 5)
    scene.until_refused()
    scene.calm(_LOOP_SECONDS)
    dials = sum(dial.channel == "market" for dial in scene.sim.dials[before:])
    if dials > _MOST_DIALS_IN_LOOP:
        scene.complaints.append(f"{dials} dials in {_LOOP_SECONDS:.0f} s to a venue that closes every connection")
    fault.clear()


def _refused(status: int, *, detail: str = "", name: str = "") -> Row:
    def act(scene: Scene) -> None:
        refusal = scene.sim.fault("refuse", channel="market", number=status, detail=detail, times=2)
        scene.sim.fault("drop", channel="market")
        scene.until_refused()
        scene.until(lambda: refusal.count, "that it dials again")
        scene.calm(_AWAY)
        refusal.clear()

    return Row(name=name or f"handshake answered {status}", group="handshake", act=act, expected=_GONE)


def _told_when_to_come_back(scene: Scene) -> None:
    refusal = scene.sim.fault("refuse", channel="market", number=429, detail="4", times=1)
    scene.sim.fault("drop", channel="market")
    scene.until(lambda: refusal.count, "that it dials again")
    scene.until_given(since=scene.began + 1_000_000_000)
    first, second = [dial.at for dial in scene.sim.dials if dial.channel == "market"][-2:]
    if second - first < float(4) - 0.1:
        scene.complaints.append(f"dialled again after {second - first:.1f} s, where Retry-After said 4 s")


def _not_http(words: str) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        fault = scene.sim.fault("no_http", channel="market", detail=words)
        scene.sim.fault("drop", channel="market")
        scene.until_refused()
        scene.until(lambda: fault.count, "that it dials again")
        scene.calm(_AWAY)
        fault.clear()

    return act


def _half_open(scene: Scene) -> None:
    """Let nothing through in either direction, and cut nothing."""
    fault = scene.sim.fault("dead", channel="market")
    scene.until_refused()
    scene.calm(_AWAY)
    fault.clear()


def _slow(scene: Scene) -> None:
    """Let bytes come drop by drop, which is late and no silence."""
    scene.sim.fault("slow", channel="market", number=20_000, seconds=4.0)
    scene.calm(4.0)


def _giant(scene: Scene) -> None:
    fault = scene.sim.fault("giant", channel="market", number=2)
    scene.sim.fault("drop", channel="market")
    scene.until(lambda: fault.count, "an opening array of 17 MiB")
    scene.until_given(since=scene.began + 1_000_000_000)
    sockets = {one.id: len(one.tokens) for one in scene.sim.connections if one.channel == "market"}
    if sorted(sockets.values()) != [2, 2]:
        scene.complaints.append(f"the tokens are on connections of {sorted(sockets.values())}, not of 2 and 2")
    fault.clear()


def _closed_port(scene: Scene) -> dict[str, str]:
    del scene
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return {"PMLIVE_CLOB_WS_URL": f"ws://127.0.0.1:{port}/ws"}


def _no_such_name(scene: Scene) -> dict[str, str]:
    del scene
    return {"PMLIVE_CLOB_WS_URL": "wss://pmlive-faults.invalid/ws"}


def _begin_without(scene: Scene) -> None:
    """Start a recorder whose books can never come, and wait until it said so often enough."""
    scene.start()
    scene.until(lambda: any(len(sight.books) == len(scene.tokens) for sight in scene.sights), "that tokens are wanted")
    scene.settled = 2**62


def _never_had(scene: Scene) -> None:
    scene.until_refused()
    scene.calm(5.0)


def _untrusted(scene: Scene) -> dict[str, str]:
    """Serve TLS with a certificate that nobody knows."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise NotInTimeError("openssl is not installed, so that no certificate can be made")
    key, certificate = scene.folder / "key.pem", scene.folder / "certificate.pem"
    subprocess.run(  # noqa: S603  # our own words
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=127.0.0.1", "-days", "1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return {"PMLIVE_CLOB_WS_URL": f"wss://127.0.0.1:{_tls_port(certificate, key)}/ws"}


def _tls_port(certificate: Path, key: Path) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(60)

    def serve() -> None:
        with listener, suppress(TimeoutError):
            while True:
                plain, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(1)

    single("untrusted", serve).start()
    return int(listener.getsockname()[1])


def _denied(manner: str, scene: Scene) -> None:
    """Ask for own orders with credentials that are refused: a typed error soon, after few tries."""
    scene.sim.fault("deny", channel="user", detail=manner)
    credentials = Credentials(
        api_key=scene.sim.credentials.api_key,
        secret=scene.sim.credentials.secret,
        passphrase=scene.sim.credentials.passphrase,
    )
    venue = Venue.from_environment(Variables(scene.sim.environment()))
    with ImpatientManager(venue, credentials) as live:
        live.subscribe_user_orders()
        try:
            scene.until(lambda: _refusal(live) is not None, "an error about the credentials", _AUTH_SECONDS)
        except NotInTimeError as late:
            scene.complaints.append(str(late))
        tries = sum(dial.channel == "user" for dial in scene.sim.dials)
        if tries > _MOST_TRIES:
            scene.complaints.append(f"{tries} tries with refused credentials")
        if live.report().connections.clob.authenticated:
            scene.complaints.append("the status says that the credentials were accepted")


def _refusal(live: ImpatientManager) -> PmliveError | None:
    try:
        live.unsubscribe(live.subscribe_user_orders().id)
    except AuthError as error:
        return error
    return None


CONNECTIONS: tuple[Row, ...] = (
    *(_closed(code) for code in (1000, 1001, 1008, 1012, 1013)),
    _cut("fin", "end without a close frame"),
    _cut("half frame", "end within a frame"),
    _cut("reset", "reset of TCP"),
    Row(name="accepted, then closed", group="connection", act=_accepted_and_closed, expected=_GONE),
    Row(
        name="network gone, nothing cut",
        group="connection",
        act=_half_open,
        expected=_GONE_OR_SILENT,
    ),
    Row(
        name="bytes drop by drop",
        group="connection",
        act=_slow,
        expected=Expected(causes=frozenset(), gaps="none", refused="none", code=0, patience=9.0, lag=9.0),
    ),
    Row(name="opening array of 17 MiB", group="connection", act=_giant, expected=_GONE),
    Row(name="handshake answered 429", group="handshake", act=_told_when_to_come_back, expected=_GONE),
    *(_refused(status) for status in (503, 520, 401, 403, 404)),
    _refused(302, detail="http://127.0.0.1:9/", name="handshake redirected"),
    Row(name="handshake answered in no HTTP", group="handshake", act=_not_http("SSH-2.0-venue\r\n"), expected=_GONE),
    Row(name="handshake not answered", group="handshake", act=_not_http(""), expected=_GONE),
    Row(
        name="name that is not known",
        group="handshake",
        act=_never_had,
        expected=_NEVER_HAD,
        setting=_no_such_name,
        begin=_begin_without,
    ),
    Row(
        name="port that is closed",
        group="handshake",
        act=_never_had,
        expected=_NEVER_HAD,
        setting=_closed_port,
        begin=_begin_without,
    ),
    Row(
        name="certificate that nobody knows",
        group="handshake",
        act=_never_had,
        expected=_NEVER_HAD,
        setting=_untrusted,
        begin=_begin_without,
    ),
    *(
        Row(
            name=f"credentials refused by {manner or 'a cut'}",
            group="credentials",
            act=partial(_denied, manner),
            expected=Expected(causes=frozenset()),
            apart=True,
        )
        for manner in ("", "close", "words", "silence")
    ),
)
