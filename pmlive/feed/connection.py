"""A connection: one socket that is dialled again whenever it ends, and the clock that times what comes."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, InvalidStatus, WebSocketException

from pmlive._session import UNANSWERED, Complaint, FetchBooks, Late, Redial, Refused, Session, Todo, Witness
from pmlive.errors import AuthError, PmliveError
from pmlive.events import Cause, Channel, Event
from pmlive.feed.dialling import Backoff, SocketDial, close_code, dial, fatal_error, is_refusal, is_trouble
from pmlive.feed.sockets import Socket
from pmlive.logs import get_logger
from pmlive.proxies import proxy_for
from pmlive.retries import DialPolicy

__all__ = [
    "Clock",
    "ClockStep",
    "FeedConnection",
    "Sink",
    "elapsed",
]

logger = get_logger(__name__)

_TOO_BIG = 1009
# Credentials count as refused after this many refusals in a row, stated by the server or by closing at once.
_MOST_REFUSALS = 3
# One that shows as silence takes as long as our patience with silence, so fewer are enough.
_MOST_SILENCES = 2
_SIGN_IN = 401
# Different complaints of the venue that are logged.
_MOST_COMPLAINTS = 20


class Sink(Protocol):
    """The receiver of what connections report, in the order of events; each call returns at once."""

    def opened(self, connection: "FeedConnection", conn: int, now: int) -> None:
        """Note that a connection is open, with its epoch (``conn``)."""

    def received(self, connection: "FeedConnection", data: bytes, events: Sequence[Event], now: int) -> None:
        """Note a frame and the events in it."""

    def closed(self, connection: "FeedConnection", cause: Cause | None, detail: str, now: int) -> None:
        """Note the end of a connection; without a cause it was intended."""

    def late(self, connection: "FeedConnection", token_ids: Sequence[str], since: int) -> None:
        """Note tokens whose opening book has not come since a time."""

    def fetch(self, connection: "FeedConnection", token_ids: Sequence[str]) -> None:
        """Fetch books by REST that the socket did not send."""

    def witness(self, connection: "FeedConnection", since: int) -> None:
        """Ask REST whether a connection without data since a time is calm or frozen."""

    def failed(self, connection: "FeedConnection", error: PmliveError) -> None:
        """Note that dialling again cannot help."""


class _GivenUpError(Exception):
    """We gave up the connection, for the reason in its text."""

    def __init__(self, reason: str, cause: Cause = "silence") -> None:
        super().__init__(reason)
        self.cause: Cause = cause


class FeedConnection:
    """A session and its socket, from the first dial until ``stop``.

    Args:
        session: the subscriptions and the state of the protocol.
        url: the address to dial.
        sink: the receiver of what happens.
        clock: receive times, in nanoseconds.
        pace: waits for this connection's turn to dial.
        next_conn: returns the number of the next connection epoch.

    Raises:
        FeedError: the proxy that is configured cannot be used.
    """

    def __init__(
        self,
        session: Session,
        url: str,
        *,
        sink: Sink,
        clock: Callable[[], int],
        policy: DialPolicy,
        pace: Callable[[], Awaitable[None]],
        next_conn: Callable[[], int],
    ) -> None:
        self.session = session
        self.url = url
        self.proxy = proxy_for(url)
        self.conn: int | None = None
        self.previous: int | None = None
        self.connected = False
        self.dials = 0
        self.errors = 0
        self.last_error = ""
        # The last complaint of the venue.
        self.complaint = ""
        self.too_big = False
        self._sink = sink
        self._clock = clock
        self._policy = policy
        self._pace = pace
        self._next_conn = next_conn
        self._backoff = Backoff(policy)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._next_dial = 0.0
        self._complaints: set[str] = set()
        self._refusals = 0
        self._give_up_error: _GivenUpError | None = None
        self._tick_error: Exception | None = None
        # While it is open, and how many parts had come through it at the last look.
        self._socket: Socket | None = None
        self._chunks = 0

    @property
    def channel(self) -> Channel:
        """The channel that the connection carries."""
        return self.session.channel

    def start(self) -> None:
        """Start dialling; call it from the running loop."""
        self._task = asyncio.create_task(self._run(), name=f"pmlive {self.channel}")

    async def stop(self) -> None:
        """End for good; an intended end is not a gap."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.previous is not None:
            self._sink.closed(self, None, "not wanted any more", self._clock())
            self.previous = None

    def poke(self) -> None:
        """Send what the session has to send now."""
        self._wake.set()

    def give_up(self, reason: str, cause: Cause = "silence") -> None:
        """Close this socket and dial again."""
        self._give_up_error = _GivenUpError(reason, cause)
        self._wake.set()

    async def _run(self) -> None:
        """Dial until an error is final; an internal error costs only the socket."""
        try:
            while True:
                try:
                    if not await self._dial_and_serve():
                        return
                except Exception as error:  # noqa: BLE001  # the top of this task
                    self._note_internal_error(error)
        finally:
            if self.conn is not None:
                self._note_closed(None, "closed by us")

    def _note_internal_error(self, error: Exception) -> None:
        """Turn an internal error into a gap and into ``last_error``; never raise."""
        now = time.monotonic()
        self.errors += 1
        self.last_error = f"internal error: {_first_line(error)}"
        try:
            if self.conn is not None:
                self._note_closed("disconnect", f"internal error: {error!r}"[:200])
        except Exception as again:  # noqa: BLE001  # noting it may fail as well
            self.last_error += f"; and it could not be noted as a gap: {_first_line(again)}"
        self._backoff.failed(error, now)
        self._next_dial = now + self._backoff.delay(now)
        logger.error("internal error on the connection to %s; it is dialled again", self.url, exc_info=error)

    async def _dial_and_serve(self) -> bool:
        """Dial and serve once; return whether to dial again."""
        await asyncio.sleep(max(0.0, self._next_dial - time.monotonic()))
        await self._pace()
        self._backoff.dialled(time.monotonic())
        self.dials += 1
        began = time.monotonic()
        try:
            async with self._dial() as socket:
                await self._serve(socket)
        except (OSError, TimeoutError, WebSocketException, EOFError, _GivenUpError, PmliveError) as error:
            return self._failed(error, time.monotonic() - began)
        return self._failed(EOFError("the server closed the connection"), time.monotonic() - began)

    def _dial(self) -> SocketDial:
        return dial(self.url, self.proxy, open_timeout=self._policy.open_timeout)

    async def _serve(self, socket: Socket) -> None:
        now = self._clock()
        self.session.connected(now)
        self.conn, self.connected, self.too_big = self._next_conn(), True, False
        self._give_up_error = self._tick_error = None
        self._socket, self._chunks = socket, socket.chunks
        self._sink.opened(self, self.conn, now)
        logger.info("connection %d to %s is open", self.conn, self.url)
        reader = asyncio.create_task(socket.pass_on(self._take))
        writer = asyncio.create_task(self._write(socket))
        try:
            done, _ = await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            if reader not in done and isinstance(writer.exception(), ConnectionClosed):
                # Nothing can be sent any more; the reader takes what has come already, and then ends by itself.
                await asyncio.wait((reader,))
            for task in done:
                task.result()
        finally:
            self._socket = None
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            if self._give_up_error is not None and self._give_up_error.cause == "silence":
                # A silent server does not answer a closing handshake, and waiting for it would delay the gap.
                socket.transport.abort()

    def _take(self, frames: Sequence[bytes]) -> None:
        """Note frames; this is the hot path."""
        clock, session, sink = self._clock, self.session, self._sink
        for data in frames:
            now = clock()
            sink.received(self, data, session.received(data, now), now)

    def tick(self, now: int) -> None:
        """Note the time; what that makes due is sent by the task of the socket, which any error ends."""
        if self._socket is None:
            return
        try:
            self._note_time(self._socket, now)
        except Exception as error:  # noqa: BLE001  # it is raised in the task of the socket
            self._tick_error = error
        if self._tick_error is not None or self.session.is_pending:
            self._wake.set()

    def _note_time(self, socket: Socket, now: int) -> None:
        if socket.chunks != self._chunks:
            self._chunks = socket.chunks
            self.session.alive(now)
        self.session.tick(now)

    async def _write(self, socket: Socket) -> None:
        """Send what the session has to send, whenever there is some."""
        while True:
            self._note_time(socket, self._clock())
            for frame in self.session.to_send():
                await socket.send(frame)
            for todo in self.session.to_do():
                self._do(todo)
            if (error := self._give_up_error or self._tick_error) is not None:
                raise error
            self._wake.clear()
            pause = self.session.pause
            try:
                async with asyncio.timeout(None if math.isinf(pause) else pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _do(self, todo: Todo) -> None:
        match todo:
            case Redial(reason):
                self._give_up_error = self._give_up_error or _GivenUpError(
                    reason, "disconnect" if self.session.refusal else "silence"
                )
            case Refused(reason):
                self._give_up_error = self._give_up_error or _GivenUpError(reason, "disconnect")
            case Complaint(words):
                self._note_complaint(words)
            case Witness(since):
                self._sink.witness(self, since)
            case Late(token_ids, since):
                self._sink.late(self, token_ids, since)
            case FetchBooks(token_ids):
                self._sink.fetch(self, token_ids)

    def _failed(self, error: Exception, lasted: float) -> bool:
        """Note how a dial or a connection ended; return whether to dial again. The sink is called before the log."""
        now = time.monotonic()
        self.errors += 1
        conn, detail, slowly = self.conn, self._described(error), self._is_refused(error)
        self._note_refusal(error, lasted)
        if conn is None:
            self._backoff.failed(error, now, slowly=slowly)
        else:
            self._note_end(error, lasted, detail)
        reason = self._final_error(error)
        if reason is not None:
            self.last_error = str(reason)
            self._sink.failed(self, reason)
            logger.error("%s", reason)
            return False
        self._next_dial = now + self._backoff.delay(now)
        self.last_error = self._refusal_text(detail) if slowly else detail
        self._log_end(conn, slowly=slowly)
        return True

    def _note_end(self, error: Exception, lasted: float, detail: str) -> None:
        self.too_big = isinstance(error, ConnectionClosed) and error.sent is not None and error.sent.code == _TOO_BIG
        self._backoff.ended(lasted, useful=self.session.useful)
        self._backoff.closed(close_code(error), time.monotonic())
        self._note_closed(error.cause if isinstance(error, _GivenUpError) else "disconnect", detail)
        for todo in self.session.to_do():
            if isinstance(todo, Complaint):
                self._note_complaint(todo.words)

    def _log_end(self, conn: int | None, *, slowly: bool) -> None:
        if slowly:
            logger.warning("%s", self.last_error)
        elif conn is None:
            logger.info("no connection to %s: %s", self.url, self.last_error)
        else:
            logger.warning(
                "connection %s to %s ended (%s): data is missing until it is back", conn, self.url, self.last_error
            )

    def _refusal_text(self, answer: str) -> str:
        """Return what a server that refuses the handshake answered, and when it is dialled again."""
        wait = self._next_dial - time.monotonic()
        at = datetime.now(UTC) + timedelta(seconds=wait)
        return (
            f"{self.url} is refused for now ({answer}); a network, a country or an address may be blocked. "
            f"It is asked again in {wait:.0f} s, at {at:%H:%M:%S} UTC, and data is missing until then"
        )

    # --- credentials ---

    def _is_unauthorized(self, error: Exception) -> bool:
        """Return whether a client that sends credentials got HTTP 401 before any were accepted."""
        session = self.session
        return session.sends_credentials and not session.accepted and _status(error) == _SIGN_IN

    def _is_refused(self, error: Exception) -> bool:
        return is_refusal(error) and not self._is_unauthorized(error)

    def _note_refusal(self, error: Exception, lasted: float) -> None:
        """Count the connections in a row on which credentials were refused.

        Once they were accepted, a connection that ends or stays silent does not count; nor does one that the server
        closed because of trouble of its own.
        """
        if self.conn is None:
            self._refusals += self._is_unauthorized(error)
        elif self.session.refusal or (self._has_ended_at_once(lasted) and not is_trouble(error)):
            self._refusals += 1
        else:
            self._refusals = 0

    def _has_ended_at_once(self, lasted: float) -> bool:
        session = self.session
        if session.channel != "user":
            return False
        unproved = session.sends_credentials and not (session.accepted or session.useful or session.excused)
        return unproved and lasted < self._policy.open_timeout

    def _final_error(self, error: Exception) -> PmliveError | None:
        """Return the error that ends the channel, if dialling again cannot help."""
        if isinstance(error, AuthError):
            return error
        silent = self.session.refusal == UNANSWERED
        if self._refusals >= (_MOST_SILENCES if silent else _MOST_REFUSALS):
            shown = self.session.refusal or self._described(error)
            return AuthError(
                f"{self.url} refused the credentials {self._refusals} times ({shown}); check the API key, its secret "
                "and its passphrase"
            )
        rejected = self._rejected_credentials()
        if rejected is not None:
            return rejected
        reason = fatal_error(error, self.url, shown=self._described(error))
        # Only the price streams refuse credentials by closing.
        return None if isinstance(reason, AuthError) and self.session.streams is None else reason

    def _rejected_credentials(self) -> AuthError | None:
        """Return the error of credentials that the price streams refused with a message."""
        streams = self.session.streams
        words = "" if streams is None else self.session.shown(streams.rejected)
        return AuthError(f"{self.url} refused the credentials: {words}; check the API key") if words else None

    # --- descriptions and notes ---

    def _described(self, error: BaseException) -> str:
        """Describe an answer or an end; the text of a page, which may hold the user's address, is left out."""
        if not isinstance(error, InvalidStatus | InvalidProxyStatus):
            return self.session.shown(_first_line(error))
        response = error.response
        trace = next(iter(response.headers.get_all("cf-ray")), "")
        by = "the proxy answered " if isinstance(error, InvalidProxyStatus) else ""
        status = f"{by}HTTP {response.status_code} {response.reason_phrase[:60]}"
        return self.session.shown(f"{status}, cf-ray {trace[:40]}" if trace else status)

    def _note_complaint(self, words: str) -> None:
        """Note a complaint of the venue, and log each kind once."""
        self.complaint = words
        if words not in self._complaints and len(self._complaints) < _MOST_COMPLAINTS:
            self._complaints.add(words)
            logger.warning("%s says: %r", self.url, words)

    def _note_closed(self, cause: Cause | None, detail: str) -> None:
        """Note the end of the socket in session and sink, at once, before anything is logged."""
        self.session.disconnected()
        try:
            self._sink.closed(self, cause, detail, self._clock())
        finally:
            self.previous, self.conn, self.connected = None if cause is None else self.conn, None, False


def _status(error: BaseException) -> int | None:
    return error.response.status_code if isinstance(error, InvalidStatus | InvalidProxyStatus) else None


def _first_line(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200]


# --- the clock ---
# Receive times: the wall clock, but never backwards, and unaffected by a wall clock that is wrong for a moment.

_SECOND_NS = 1_000_000_000
# How often the wall clock is read.
_CHECK_EVERY_NS = 1 * _SECOND_NS
# A smaller difference is drift, which is followed at once; a larger one is a step of the wall clock.
_MOST_DRIFT_NS = _SECOND_NS // 10
# A step is followed once it has lasted this long.
_BELIEVED_AFTER_NS = 10 * _SECOND_NS
# While ours is ahead, it runs at half speed and never stops, so that pings and deadlines still come.
_SLOWDOWN = 2
# Runs on while the machine sleeps, where the system has such a clock.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


# Returns nanoseconds of a clock that also runs while the process is stopped or the machine sleeps.
elapsed: Callable[[], int] = partial(time.clock_gettime_ns, _BOOT)


class ClockStep(msgspec.Struct, frozen=True, gc=False):
    """A step of the wall clock that was followed: its nanoseconds, and the receive time until which both clocks agreed.

    After a negative one, receive times are ahead until the wall clock has caught up.
    """

    by: int
    since: int


class Clock:
    """Nanoseconds since 1970, counted by a clock that runs on during sleep and compared with the wall clock.

    Receive times must never go back, and a wrong one cannot be taken back. So a step of the wall clock is followed only
    when it has lasted: a step ahead then at once, and after a step back this clock runs at half speed until both agree.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, elapsed: Callable[[], int] = elapsed) -> None:
        self._wall = wall
        self._elapsed = elapsed
        # The offset from the elapsed time; by how much it is too large; the time at which both clocks agreed last.
        self._checked = elapsed()
        self._offset = wall() - self._checked
        self._ahead = 0
        self._agreed = self._checked + self._offset
        # The offset of the wall clock since it was set, and when that was first seen.
        self._claim: int | None = None
        self._claimed = 0
        # A wall clock with a smaller offset than this is wrong.
        self._least: int | None = None
        self._step: ClockStep | None = None

    def __call__(self) -> int:
        """Return the time."""
        now = self._elapsed()
        passed = now - self._checked
        if passed >= _CHECK_EVERY_NS:
            self._check(now, passed)
            passed = 0
        return now + self._offset - min(passed // _SLOWDOWN, self._ahead) if self._ahead else now + self._offset

    @property
    def ahead(self) -> int:
        """By how many nanoseconds receive times are ahead of the wall clock, since it was set back."""
        return self._ahead

    def not_before(self, time: int) -> None:
        """Note a time, stated by the venue, that is certainly past, even if the wall clock is before it."""
        least = time - self._elapsed()
        self._least = least if self._least is None else max(self._least, least)
        if least > self._offset - self._ahead:
            self._claim, self._agreed = None, time
            self._set(least)

    def step(self) -> ClockStep | None:
        """Return the last step that was followed, once."""
        step, self._step = self._step, None
        return step

    def _check(self, now: int, passed: int) -> None:
        slowed = min(passed // _SLOWDOWN, self._ahead)
        self._checked = now
        self._offset -= slowed
        self._ahead -= slowed
        adds, right = self._wall() - now, self._offset - self._ahead
        if self._least is not None:
            adds = max(adds, self._least)
        if abs(adds - right) <= _MOST_DRIFT_NS:
            self._claim, self._agreed = None, now + self._offset
            self._set(adds)
        elif self._claim is None or abs(adds - self._claim) > _MOST_DRIFT_NS:
            self._claim, self._claimed = adds, now
        elif now - self._claimed < _BELIEVED_AFTER_NS:
            self._claim = adds
        else:
            self._step = ClockStep(adds - right, self._agreed)
            self._claim, self._agreed = None, now + max(adds, self._offset)
            self._set(adds)

    def _set(self, right: int) -> None:
        """Follow the right offset at once, or slowly if it is smaller."""
        self._offset = max(self._offset, right)
        self._ahead = self._offset - right
