"""The cases: faults of connections, messages, the recorder's process and the disk, and what must follow each."""

import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import polars as pl

from pmlive.cli.faults.trial import Expected, FastManager, FaultCase, Stderr, Trial, TrialError
from pmlive.credentials import Credentials
from pmlive.errors import AuthError, PmliveError
from pmlive.recording import open_recording
from pmlive.settings import Variables, Venue
from pmlive.sim import FaultKind
from pmlive.threads import single

__all__ = ["CATALOGUE"]

_DISCONNECT = frozenset({"disconnect"})
_ANY_OF_CONNECTION = frozenset({"disconnect", "silence", "late opening book"})
_DISCONNECTED = Expected(causes=_DISCONNECT)
# A connection that is replaced because it is silent has a gap by silence, one that the venue ends one by disconnect.
_DISCONNECTED_OR_SILENT = Expected(causes=_ANY_OF_CONNECTION, max_age=9.0, before=5.0)
_NEVER_CONNECTED = Expected(causes=_ANY_OF_CONNECTION, recovers=False, before=60.0, refused="all")
# Silence is noticed only after a while; until then a book may be given that is as old.
_SILENT = Expected(causes=frozenset({"silence"}), max_age=10.0, before=4.0)
_ONE_SILENT = Expected(causes=frozenset({"silence", "mismatch"}), gaps="some", refused="some", max_age=12.0, before=4.0)
# If the token of a message is known, the other books are not affected.
# A whole book may be back within milliseconds, before a refusal is observed.
_CORRUPTED = frozenset({"malformed", "mismatch"})
_ONE_DISTRUSTED = Expected(causes=_CORRUPTED, gaps="at least one", refused="any")
_ALL_DISTRUSTED = Expected(causes=_CORRUPTED, gaps="all", refused="any")
# A wrong state that the next message corrects is neither proved nor a gap.
_WRONG = Expected(causes=_CORRUPTED, gaps="any", refused="any", code=None)
_HARMLESS = Expected(causes=frozenset(), gaps="none", refused="none", code=0)
_COUNTED = Expected(causes=frozenset({"malformed"}), gaps="none", refused="none", code=1)
_SLOW = Expected(causes=frozenset(), gaps="none", refused="none", code=0, max_age=9.0, lag=9.0)

_S = 1_000_000_000
# The lengths of faults, in seconds.
_LOOP_SECONDS = 6.0
_AUTH_SECONDS = 10.0
_AWAY_SECONDS = 1.5
_SILENT_SECONDS = 12.0
_QUIET_SECONDS = 9.0
_CORRUPTED_SECONDS = 2.0
_LASTING_SECONDS = 4.0
_RETRY_AFTER = 4
_MOST_DIALS_IN_LOOP = 16
_MOST_AUTH_DIALS = 3
# A ``ready_ns`` after which no change counts as missed, and no book of the recording is checked.
_NEVER_NS = 2**62

_STOPPED_SECONDS = 7.0
_LOGGED_SECONDS = 5.0
_FULL_SECONDS = 6.0
_FIRST_BLOCKS = 4096
_UNUSABLE = 2
_NOT_RUNNING = Expected(
    causes=frozenset({"silence"}), refused="any", max_age=3.0 + _STOPPED_SECONDS, before=4.0, after=6.0
)
_RESTARTED = Expected(causes=frozenset({"restart"}), refused="any", before=4.0, after=6.0)
_DAMAGED = Expected(causes=frozenset({"restart", "disk"}), refused="any", before=60.0, after=6.0)


def _connection_ended(name: str, kind: FaultKind, *, number: int | None = None, detail: str = "") -> FaultCase:
    def inject(trial: Trial) -> None:
        trial.cut(kind, number=number, detail=detail)

    return FaultCase(name=name, group="connection", inject=inject, expected=_DISCONNECTED)


def _accepted_and_closed(trial: Trial) -> None:
    before = len(trial.sim.dials)
    fault = trial.sim.fault("close", channel="market", seconds=_LOOP_SECONDS * 5)
    trial.wait_for_refusals()
    trial.sleep(_LOOP_SECONDS)
    dials = sum(dial.channel == "market" for dial in trial.sim.dials[before:])
    if dials > _MOST_DIALS_IN_LOOP:
        trial.complaints.append(f"{dials} dials in {_LOOP_SECONDS:.0f} s to a venue that closes every connection")
    fault.clear()


def _half_open(trial: Trial) -> None:
    """Drop everything in both directions without ending the connection."""
    fault = trial.sim.fault("dead", channel="market")
    trial.wait_for_refusals()
    trial.sleep(_AWAY_SECONDS)
    fault.clear()


def _slow(trial: Trial) -> None:
    """Let bytes arrive slowly, which is a delay and not silence."""
    trial.sim.fault("slow", channel="market", number=20_000, seconds=_LASTING_SECONDS)
    trial.sleep(_LASTING_SECONDS)


def _giant(trial: Trial) -> None:
    fault = trial.sim.fault("giant", channel="market", number=2)
    trial.sim.fault("drop", channel="market")
    trial.wait_until(lambda: fault.count, "an opening array of 17 MiB")
    trial.wait_for_books(since=trial.began_ns + _S)
    sockets = {one.id: len(one.tokens) for one in trial.sim.connections if one.channel == "market"}
    if sorted(sockets.values()) != [2, 2]:
        trial.complaints.append(f"the tokens are on connections of {sorted(sockets.values())}, not of 2 and 2")
    fault.clear()


def _failing_handshake(
    name: str, kind: FaultKind, *, number: int | None = None, detail: str = "", times: int | None = None
) -> FaultCase:
    """Return a case in which handshakes fail for a while after the connection is lost."""

    def inject(trial: Trial) -> None:
        fault = trial.sim.fault(kind, channel="market", number=number, detail=detail, times=times)
        trial.sim.fault("drop", channel="market")
        trial.wait_for_refusals()
        trial.wait_until(lambda: fault.count, "another dial")
        trial.sleep(_AWAY_SECONDS)
        fault.clear()

    return FaultCase(name=name, group="handshake", inject=inject, expected=_DISCONNECTED)


def _retry_after(trial: Trial) -> None:
    refusal = trial.sim.fault("refuse", channel="market", number=429, detail=str(_RETRY_AFTER), times=1)
    trial.sim.fault("drop", channel="market")
    trial.wait_until(lambda: refusal.count, "another dial")
    trial.wait_for_books(since=trial.began_ns + _S)
    first, second = [dial.at for dial in trial.sim.dials if dial.channel == "market"][-2:]
    if second - first < _RETRY_AFTER - 0.1:
        trial.complaints.append(f"dialled again after {second - first:.1f} s, where Retry-After said {_RETRY_AFTER} s")


def _unreachable(name: str, environment: Callable[[Trial], dict[str, str]]) -> FaultCase:
    """Return a case in which the recorder never connects."""
    return FaultCase(
        name=name,
        group="handshake",
        inject=_never_connected,
        expected=_NEVER_CONNECTED,
        environment=environment,
        start=_start_without_books,
    )


def _never_connected(trial: Trial) -> None:
    trial.wait_for_refusals()
    trial.sleep(5.0)


def _start_without_books(trial: Trial) -> None:
    """Start a recorder whose books cannot come, and wait until every token is subscribed."""
    trial.start()
    trial.wait_until(
        lambda: any(len(seen.books) == len(trial.tokens) for seen in trial.observations),
        "a subscription of every token",
    )
    trial.ready_ns = _NEVER_NS


def _closed_port(_: Trial) -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return {"PMLIVE_CLOB_WS_URL": f"ws://127.0.0.1:{port}/ws"}


def _unknown_host(_: Trial) -> dict[str, str]:
    return {"PMLIVE_CLOB_WS_URL": "wss://pmlive-faults.invalid/ws"}


def _unknown_certificate(trial: Trial) -> dict[str, str]:
    """Serve TLS with a self-signed certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise TrialError("openssl is not installed, so that no certificate can be made")
    key, certificate = trial.folder / "key.pem", trial.folder / "certificate.pem"
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


def _refused_credentials(manner: str, trial: Trial) -> None:
    """Subscribe to own orders with refused credentials: an AuthError must come soon, after few dials."""
    trial.sim.fault("deny", channel="user", detail=manner)
    credentials = Credentials(
        api_key=trial.sim.credentials.api_key,
        secret=trial.sim.credentials.secret,
        passphrase=trial.sim.credentials.passphrase,
    )
    venue = Venue.from_environment(Variables(trial.sim.environment()))
    with FastManager(venue, credentials) as live:
        live.subscribe_user_orders()
        try:
            trial.wait_until(lambda: _refusal(live) is not None, "an error about the credentials", _AUTH_SECONDS)
        except TrialError as late:
            trial.complaints.append(str(late))
        dials = sum(dial.channel == "user" for dial in trial.sim.dials)
        if dials > _MOST_AUTH_DIALS:
            trial.complaints.append(f"{dials} dials with refused credentials")
        if live.report().connections.clob.authenticated:
            trial.complaints.append("the status says that the credentials were accepted")


def _refusal(live: FastManager) -> PmliveError | None:
    try:
        live.unsubscribe(live.subscribe_user_orders().id)
    except AuthError as error:
        return error
    return None


def _frozen(trial: Trial) -> None:
    fault = trial.sim.fault("stall", channel="market")
    trial.wait_for_refusals()
    fault.clear()


def _frozen_without_rest(trial: Trial) -> None:
    """Answer PINGs and send no data, while REST is down, too."""
    trial.sim.fault("refuse", channel="clob", number=503)
    trial.sim.fault("stall", channel="market")
    trial.wait_for_refusals()
    trial.sim.clear_faults()


def _frozen_to_the_end(trial: Trial) -> None:
    """Let the recording end while no data comes and REST, which would show that, is down."""
    trial.sim.fault("refuse", channel="clob", number=503)
    trial.sim.fault("stall", channel="market")
    trial.sleep(_SILENT_SECONDS)


def _one_frozen(trial: Trial) -> None:
    token = trial.tokens[0]
    fault = trial.sim.fault("silent", token_id=token)
    trial.wait_for_refusals([token])
    fault.clear()


def _market_forgotten(trial: Trial) -> None:
    # The venue sends the changes of both outcomes to subscribers of one.
    tokens = trial.sim.markets[0].token_ids
    for token in tokens:
        trial.sim.fault("forget", token_id=token)
    # The books are requested again, and may come before a refusal is observed.
    trial.sleep(_SILENT_SECONDS)


def _all_forgotten(trial: Trial) -> None:
    trial.sim.fault("forget")
    trial.sleep(_SILENT_SECONDS)


def _no_first_book(trial: Trial) -> None:
    """Reconnect without the book of one token, whose changes come nevertheless; REST has it."""
    trial.sim.fault("no_opening", token_id=trial.tokens[0], times=2)
    trial.cut()


def _no_book_at_all(trial: Trial) -> None:
    """Reconnect to changes without books, while REST is down."""
    trial.sim.fault("refuse", channel="clob", number=503)
    trial.sim.fault("no_opening", times=200)
    trial.cut()
    # A trade is followed by a book, which ends the fault for its token.
    trial.sleep(3.0)
    trial.sim.clear_faults()


def _quiet_then_cut(trial: Trial) -> None:
    """Cut a connection after a while without data in which PINGs were answered."""
    trial.sleep(_QUIET_SECONDS)
    trial.began_ns = time.time_ns()
    trial.cut()


def _resolved_while_away(trial: Trial) -> None:
    """Resolve a market while nothing is connected."""
    refusal = trial.sim.fault("refuse", channel="market", number=503, detail="1")
    trial.sim.fault("drop", channel="market")
    trial.wait_for_refusals()
    market = trial.sim.markets[0]
    trial.sim.resolve(market)
    trial.resolved |= set(market.token_ids)
    refusal.clear()
    trial.wait_until(lambda: _is_resolved(trial, market.condition_id), "the outcome of the market", 20.0)


def _is_resolved(trial: Trial, market: str) -> bool:
    events = open_recording(trial.recording).scan("market_events").filter(pl.col("market") == market)
    return "market_resolved" in events.select("kind").collect()["kind"]


def _corrupted(
    name: str, kind: FaultKind, detail: str, expected: Expected, *, seconds: float | None = None
) -> FaultCase:
    """Return a case that corrupts one message, or every message for some seconds as after a change of the protocol."""

    def inject(trial: Trial) -> None:
        fault = trial.sim.fault(kind, channel="market", detail=detail, seconds=seconds)
        trial.wait_until(lambda: fault.count, "a message to corrupt")
        trial.sleep(seconds or _CORRUPTED_SECONDS)

    return FaultCase(name=name, group="message", inject=inject, expected=expected)


def _stopped(trial: Trial) -> None:
    """Stop the process for some seconds, as a closed laptop or a debugger does."""
    os.kill(trial.pid, signal.SIGSTOP)
    trial.sleep(_STOPPED_SECONDS)
    os.kill(trial.pid, signal.SIGCONT)


def _stderr_closed(trial: Trial) -> None:
    """Close the other end of the standard error, then cut the connection, which the recorder reports."""
    trial.close_stderr()
    trial.cut()


def _stderr_full(trial: Trial) -> None:
    """Cut the connection repeatedly, which the recorder reports, while its standard error is full."""
    for _ in range(8):
        trial.sim.fault("drop", channel="market")
        trial.sleep(1.0)


def _killed(trial: Trial) -> None:
    trial.kill()
    trial.sleep(1.0)
    trial.start()


def _damaged(damage: Callable[[Path], None], trial: Trial) -> None:
    """Damage the first blocks of the log of a recorder that was killed, and start it again."""
    trial.kill()
    damage(min((trial.recording / "wal").glob("*.*")))
    trial.start()


def _start_and_fill_log(trial: Trial) -> None:
    """Record for so long that the first blocks of the log are on the disk."""
    trial.start()
    trial.wait_for_books()
    trial.ready_ns = time.time_ns()
    trial.sleep(_LOGGED_SECONDS * trial.slowness)


def _flip(path: Path) -> None:
    """Flip some bits of the first blocks, which have the beginning of the connection."""
    data = bytearray(path.read_bytes())
    for at in range(100, min(len(data), _FIRST_BLOCKS), 200):
        data[at] ^= 0x10
    path.write_bytes(data)


def _overwrite(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(b"\xa5" * _FIRST_BLOCKS + data[_FIRST_BLOCKS:])


def _halve(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 2 :])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _full_disk(trial: Trial, meanwhile: Callable[[Trial], object] = lambda _: None) -> None:
    """Prevent all files of the recorder from growing for some seconds, as on a full disk, while something happens."""
    _, most = resource.prlimit(trial.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(trial.pid, resource.RLIMIT_FSIZE, (0, most))
    meanwhile(trial)
    trial.sleep(_FULL_SECONDS)
    resource.prlimit(trial.pid, resource.RLIMIT_FSIZE, (most, most))
    trial.sleep(2.0)


def _second_recorder(trial: Trial) -> None:
    """Start another recorder on the same folder: it must be refused, and the first one continue."""
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "pmlive", *trial.arguments()],
        env={**os.environ, **trial.sim.environment()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * trial.slowness,
    )
    if done.returncode != _UNUSABLE or str(trial.pid) not in done.stderr:
        trial.complaints.append(f"a second recorder ends with {done.returncode}: {done.stderr[-200:]!r}")


def _without_stderr(stderr: Stderr, name: str, inject: Callable[[Trial], None]) -> FaultCase:
    return FaultCase(
        name=f"standard error: {name}", group="process", inject=inject, expected=_DISCONNECTED, stderr=stderr
    )


def _with_damage(name: str, damage: Callable[[Path], None]) -> FaultCase:
    return FaultCase(
        name=f"first blocks of the log {name}",
        group="disk",
        inject=partial(_damaged, damage),
        expected=_DAMAGED,
        start=_start_and_fill_log,
    )


_CONNECTIONS: tuple[FaultCase, ...] = (
    *(_connection_ended(f"close with {code}", "close", number=code) for code in (1000, 1001, 1008, 1012, 1013)),
    _connection_ended("end without a close frame", "drop", detail="fin"),
    _connection_ended("end within a frame", "drop", detail="half frame"),
    _connection_ended("reset of TCP", "drop", detail="reset"),
    FaultCase(name="accepted, then closed", group="connection", inject=_accepted_and_closed, expected=_DISCONNECTED),
    FaultCase(
        name="network gone, nothing cut", group="connection", inject=_half_open, expected=_DISCONNECTED_OR_SILENT
    ),
    FaultCase(name="bytes drop by drop", group="connection", inject=_slow, expected=_SLOW),
    FaultCase(name="opening array of 17 MiB", group="connection", inject=_giant, expected=_DISCONNECTED),
    FaultCase(name="handshake answered 429", group="handshake", inject=_retry_after, expected=_DISCONNECTED),
    *(
        _failing_handshake(f"handshake answered {status}", "refuse", number=status, times=2)
        for status in (503, 520, 401, 403, 404)
    ),
    _failing_handshake("handshake redirected", "refuse", number=302, detail="http://127.0.0.1:9/", times=2),
    _failing_handshake("handshake answered in no HTTP", "no_http", detail="SSH-2.0-venue\r\n"),
    _failing_handshake("handshake not answered", "no_http"),
    _unreachable("name that is not known", _unknown_host),
    _unreachable("port that is closed", _closed_port),
    _unreachable("certificate that nobody knows", _unknown_certificate),
    *(
        FaultCase(
            name=f"credentials refused by {manner or 'a cut'}",
            group="credentials",
            inject=partial(_refused_credentials, manner),
            expected=Expected(causes=frozenset()),
            recorded=False,
        )
        for manner in ("", "close", "words", "silence")
    ),
)


_SILENCES: tuple[FaultCase, ...] = (
    FaultCase(name="frozen, PING answered", group="silence", inject=_frozen, expected=_SILENT),
    FaultCase(name="frozen, REST answers 503", group="silence", inject=_frozen_without_rest, expected=_SILENT),
    FaultCase(
        name="frozen to the end, REST answers 503",
        group="silence",
        inject=_frozen_to_the_end,
        expected=Expected(causes=frozenset({"silence"}), max_age=10.0, before=4.0, recovers=False),
    ),
    FaultCase(name="one token frozen", group="silence", inject=_one_frozen, expected=_ONE_SILENT),
    FaultCase(
        name="one market forgotten",
        group="silence",
        inject=_market_forgotten,
        expected=msgspec.structs.replace(_ONE_SILENT, refused="any"),
    ),
    FaultCase(
        name="every token forgotten",
        group="silence",
        inject=_all_forgotten,
        expected=msgspec.structs.replace(_SILENT, refused="any"),
    ),
    FaultCase(
        name="no first book of one token",
        group="silence",
        inject=_no_first_book,
        expected=Expected(causes=frozenset({"disconnect", "late opening book"})),
    ),
    FaultCase(
        name="changes without books, REST answers 503",
        group="silence",
        inject=_no_book_at_all,
        expected=Expected(causes=_ANY_OF_CONNECTION),
    ),
    FaultCase(
        name="cut after a quiet time",
        group="silence",
        inject=_quiet_then_cut,
        rate=0.0,
        expected=Expected(causes=_DISCONNECT, before=1.5),
    ),
    FaultCase(
        name="resolved while away",
        group="silence",
        inject=_resolved_while_away,
        expected=Expected(causes=_ANY_OF_CONNECTION),
    ),
)


_MESSAGES: tuple[FaultCase, ...] = (
    _corrupted("half of a JSON text", "garbage", "json", _ONE_DISTRUSTED),
    _corrupted("bytes that are no UTF-8", "garbage", "utf8", _ALL_DISTRUSTED),
    _corrupted("50,000 brackets", "garbage", "deep", _ALL_DISTRUSTED),
    _corrupted("NUL bytes", "garbage", "nul", _ALL_DISTRUSTED),
    _corrupted("an empty text", "garbage", "empty", _ALL_DISTRUSTED),
    _corrupted("a change in a binary frame", "garbage", "binary", _HARMLESS),
    _corrupted("an element that is no message", "garbage", "element", _ALL_DISTRUSTED),
    _corrupted("a kind that is not known, of a token", "garbage", "kind", _ONE_DISTRUSTED),
    _corrupted("a kind that is not known, of nobody here", "garbage", "unknown", _COUNTED),
    _corrupted("a key with another name", "garbage", "renamed", _ONE_DISTRUSTED),
    _corrupted("a token under another name", "garbage", "unnamed", _ONE_DISTRUSTED),
    _corrupted("keys with other names for good", "garbage", "renamed", _ONE_DISTRUSTED, seconds=_LASTING_SECONDS),
    _corrupted("kinds that are not known for good", "garbage", "kind", _ONE_DISTRUSTED, seconds=_LASTING_SECONDS),
    _corrupted("a field that is missing", "garbage", "missing", _ONE_DISTRUSTED),
    _corrupted("a change that is torn", "garbage", "torn", _WRONG),
    _corrupted("a price that is no number", "garbage", "nan", _ONE_DISTRUSTED),
    _corrupted("a price below 0", "garbage", "negative", _ONE_DISTRUSTED),
    _corrupted("a price above 1", "garbage", "above one", _ONE_DISTRUSTED),
    _corrupted("a size below 0", "garbage", "negative size", _ONE_DISTRUSTED),
    _corrupted("a change that is lost", "skip", "", _WRONG),
    _corrupted("two changes in the wrong order", "reorder", "", _WRONG),
    _corrupted("a change twice", "duplicate", "", _HARMLESS),
    _corrupted("a change twice, turned around", "duplicate", "swapped", _HARMLESS),
    _corrupted("a trade twice", "duplicate", "trade", _HARMLESS),
    _corrupted("a hash that is wrong", "lie", "", _WRONG),
    _corrupted("a best bid that is wrong", "lie_best", "", _WRONG),
    _corrupted("a book that crosses itself", "cross", "", _WRONG),
)


_PROCESSES: tuple[FaultCase, ...] = (
    FaultCase(name="stopped for 7 s, little comes", group="process", inject=_stopped, expected=_NOT_RUNNING, rate=5.0),
    FaultCase(name="stopped for 7 s, much comes", group="process", inject=_stopped, expected=_NOT_RUNNING, rate=300.0),
    _without_stderr("pipe", "reader gone", _stderr_closed),
    _without_stderr("terminal", "terminal closed", _stderr_closed),
    _without_stderr("closed", "closed from the beginning", Trial.cut),
    _without_stderr("full disk", "on a full disk", Trial.cut),
    _without_stderr("unread pipe", "read by nobody", _stderr_full),
    FaultCase(name="killed, and resumed", group="process", inject=_killed, expected=_RESTARTED),
    FaultCase(
        name="disk full for 6 s",
        group="disk",
        inject=_full_disk,
        stderr="pipe",
        expected=Expected(causes=frozenset({"disk"}), gaps="any", refused="any", code=None),
    ),
    FaultCase(
        name="disk full for 6 s, the program's log on it",
        group="disk",
        inject=partial(_full_disk, meanwhile=Trial.cut),
        expected=Expected(causes=frozenset({"disk", "disconnect"})),
    ),
    _with_damage("have flipped bits", _flip),
    _with_damage("overwritten", _overwrite),
    _with_damage("halved", _halve),
    _with_damage("emptied", _empty),
    FaultCase(
        name="two recorders on one folder",
        group="process",
        inject=_second_recorder,
        expected=Expected(causes=frozenset(), gaps="none", refused="none", code=0),
    ),
)

CATALOGUE: tuple[FaultCase, ...] = (*_CONNECTIONS, *_SILENCES, *_MESSAGES, *_PROCESSES)
