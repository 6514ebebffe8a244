"""One socket, dialled again whenever it ends."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from pmlive._session import FetchBooks, Late, Redial, Refused, Session, Todo, Told, Witness
from pmlive.errors import AuthError, FeedError, PmliveError
from pmlive.events import Cause, Channel, Event
from pmlive.feed.backoff import Backoff, Policy, close_code, fatal

__all__ = ["Connection", "Sink"]

logger = logging.getLogger(__name__)

# The library logs whole frames at DEBUG, the one with credentials among them.
_quiet = logging.getLogger(f"{__name__}.socket")
_quiet.setLevel(logging.INFO)

_MAX_FRAME = 16 * 1024 * 1024
_TOO_BIG = 1009
# So many frames take some milliseconds.
_AT_ONCE = 50
# A user socket that is closed so often before saying a word has refused our credentials; it never says so.
_REFUSALS = 3


class Sink(Protocol):
    """Where connections report, in the order of events; each call returns at once."""

    def opened(self, connection: "Connection", conn: int, now: int) -> None:
        """Note a connection, its epoch and what it was asked for."""

    def received(self, connection: "Connection", data: bytes, events: Sequence[Event], now: int) -> None:
        """Take a frame and the events in it."""

    def closed(self, connection: "Connection", cause: Cause | None, detail: str, now: int) -> None:
        """Note the end of a connection; without a cause it was meant."""

    def late(self, connection: "Connection", token_ids: Sequence[str], since: int) -> None:
        """Note tokens whose opening book has not come since a time."""

    def fetch(self, connection: "Connection", token_ids: Sequence[str]) -> None:
        """Get books by REST that the socket did not send."""

    def witness(self, connection: "Connection", since: int) -> None:
        """Ask REST whether a connection without data since a time is calm or frozen."""

    def failed(self, connection: "Connection", error: PmliveError) -> None:
        """Note that dialling again cannot help."""


class _Direct(connect):
    """A dial that follows no redirect: it would carry credentials to another origin."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _GivenUpError(Exception):
    """We gave the connection up; the reason is its text."""

    def __init__(self, reason: str, cause: Cause = "silence") -> None:
        super().__init__(reason)
        self.cause: Cause = cause


class Connection:
    """A session and its socket, from the first dial until ``stop``.

    Args:
        session: what is wanted.
        url: where to dial.
        sink: where to report.
        clock: receive times, in nanoseconds.
        pace: waits for this connection's turn to dial.
        next_conn: gives the number of the next connection epoch.
    """

    def __init__(
        self,
        session: Session,
        url: str,
        *,
        sink: Sink,
        clock: Callable[[], int],
        policy: Policy,
        pace: Callable[[], Awaitable[None]],
        next_conn: Callable[[], int],
    ) -> None:
        self.session = session
        self.url = url
        self.conn: int | None = None
        self.previous: int | None = None
        self.connected = False
        self.dials = 0
        self.errors = 0
        self.last_error = ""
        self.too_big = False
        self._sink = sink
        self._clock = clock
        self._policy = policy
        self._pace = pace
        self._next_conn = next_conn
        self._backoff = Backoff(policy)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._silent_refusals = 0
        self._given: _GivenUpError | None = None

    @property
    def channel(self) -> Channel:
        """Name what the connection carries."""
        return self.session.channel

    def start(self) -> None:
        """Begin to dial; call it from the running loop."""
        self._task = asyncio.create_task(self._run(), name=f"pmlive {self.channel}")

    async def stop(self) -> None:
        """End for good; the end is meant, so it is no gap."""
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
        """Leave this socket for another."""
        self._given = _GivenUpError(reason, cause)
        self._wake.set()

    async def _run(self) -> None:
        try:
            while await self._attempt():
                pass
        except Exception as error:
            logger.exception("connection to %s failed by a fault of ours", self.url)
            self._sink.failed(self, FeedError(f"the connection to {self.url} failed by a fault of ours: {error!r}"))
        finally:
            if self.conn is not None:
                self._over(None, "closed by us")

    async def _attempt(self) -> bool:
        """Dial once more; a fault of ours costs this socket and not the night."""
        began = time.monotonic()
        try:
            return await self._once()
        except Exception as error:
            logger.exception("connection to %s failed by a fault of ours; it is dialled again", self.url)
            return self._failed(FeedError(f"a fault of ours: {error!r}"), time.monotonic() - began)

    async def _once(self) -> bool:
        """Dial and serve once; tell whether to go on."""
        await asyncio.sleep(self._backoff.delay(time.monotonic()))
        await self._pace()
        self._backoff.dialled(time.monotonic())
        self.dials += 1
        began = time.monotonic()
        try:
            async with self._dial() as socket:
                await self._serve(socket)
        except (OSError, TimeoutError, WebSocketException, EOFError, _GivenUpError) as error:
            return self._failed(error, time.monotonic() - began)
        return self._failed(EOFError("the server closed the connection"), time.monotonic() - began)

    def _dial(self) -> connect:
        loopback = (urlsplit(self.url).hostname or "") in ("localhost", "::1") or "//127." in self.url
        return _Direct(
            self.url,
            max_size=_MAX_FRAME,
            ping_interval=None,
            compression=None,
            open_timeout=self._policy.open_timeout,
            close_timeout=1,
            logger=_quiet,
            proxy=None if loopback else True,
        )

    async def _serve(self, socket: ClientConnection) -> None:
        now = self._clock()
        self.conn, self.connected, self._given, self.too_big = self._next_conn(), True, None, False
        self.session.connected(now)
        self._sink.opened(self, self.conn, now)
        logger.info("connection %d to %s is open", self.conn, self.url)
        reader = asyncio.create_task(self._read(socket))
        writer = asyncio.create_task(self._write(socket))
        try:
            done, _ = await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            if reader not in done and isinstance(writer.exception(), ConnectionClosed):
                # Nothing can be sent any more; what has come already is taken, and then the reader ends by itself.
                await asyncio.wait((reader,))
            for task in done:
                task.result()
        finally:
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    async def _read(self, socket: ClientConnection) -> None:
        """Hand on every frame; this is the hot path."""
        received, clock, session, sink = socket.recv, self._clock, self.session, self._sink
        while True:
            for _ in range(_AT_ONCE):
                data = await received(decode=False)
                now = clock()
                sink.received(self, data, session.received(data, now), now)
            # Frames that are there already are given without a pause; others of this thread want to go on, too.
            await asyncio.sleep(0)

    async def _write(self, socket: ClientConnection) -> None:
        """Send what is to be sent and note the time, now and then and when poked."""
        while True:
            self.session.tick(self._clock())
            for frame in self.session.to_send():
                await socket.send(frame)
            for todo in self.session.to_do():
                self._do(todo)
            if self._given is not None:
                raise self._given
            self._wake.clear()
            try:
                async with asyncio.timeout(min(self._policy.tick, self.session.pause)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _do(self, todo: Todo) -> None:
        match todo:
            case Redial(reason):
                raise _GivenUpError(reason)
            case Refused(reason):
                raise _GivenUpError(reason, "disconnect")
            case Told(words):
                logger.warning("%s: %s", self.url, words)
            case Witness(since):
                self._sink.witness(self, since)
            case Late(token_ids, since):
                self._sink.late(self, token_ids, since)
            case FetchBooks(token_ids):
                self._sink.fetch(self, token_ids)

    def _failed(self, error: Exception, lasted: float) -> bool:
        """Note how it ended; tell whether dialling again makes sense."""
        self.errors += 1
        self.last_error = _describe(error)
        if self.conn is None:
            self._backoff.failed(error, time.monotonic())
            logger.info("no connection to %s: %s", self.url, self.last_error)
        else:
            self._note_refusal(lasted)
            self.too_big = (
                isinstance(error, ConnectionClosed) and error.sent is not None and error.sent.code == _TOO_BIG
            )
            self._backoff.ended(lasted, useful=self.session.useful)
            self._backoff.closed(close_code(error), time.monotonic())
            self._over(error.cause if isinstance(error, _GivenUpError) else "disconnect", self.last_error)
        reason = self._rejection() or fatal(error, self.url)
        if reason is None and self._silent_refusals >= _REFUSALS:
            reason = AuthError(f"{self.url} ends every connection right after the credentials; check the API key")
        if reason is None:
            return True
        logger.error("%s", reason)
        self._sink.failed(self, reason)
        return False

    def _rejection(self) -> AuthError | None:
        words = self.session.streams.rejected if self.session.streams is not None else ""
        return AuthError(f"{self.url} refused the credentials: {words}; check the API key") if words else None

    def _note_refusal(self, lasted: float) -> None:
        refused = self.channel == "user" and lasted < self._policy.open_timeout and not self.session.useful
        self._silent_refusals = self._silent_refusals + 1 if refused else 0

    def _over(self, cause: Cause | None, detail: str) -> None:
        self.session.disconnected()
        if cause is not None:
            logger.warning(
                "connection %s to %s ended (%s): data is missing until it is back", self.conn, self.url, detail
            )
        self._sink.closed(self, cause, detail, self._clock())
        self.previous, self.conn, self.connected = None if cause is None else self.conn, None, False


def _describe(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200]
