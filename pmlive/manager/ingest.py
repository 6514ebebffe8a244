"""Sources of records, and their ingest into journal, rolling frames and recorder, in the feed thread alone."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec
import polars as pl

from pmlive.errors import PmliveError
from pmlive.events import Cause, Channel, Event, Gap, NewMarket
from pmlive.feed import Clock, FeedConnection
from pmlive.gaps import GapIndex, GapInterval
from pmlive.logs import get_logger
from pmlive.markets import Found, Market, Series
from pmlive.pipeline import Making, Pipeline
from pmlive.pipeline.journal import Journal
from pmlive.records import Closed, Kind, Opened
from pmlive.replay import Speed
from pmlive.settings import Variables, Venue
from pmlive.store import Earlier, Record, Recorder
from pmlive.tables import ROLLING, STORED, Digest, Rolling
from pmlive.threads import note_fault
from pmlive.times import CLOCK_ERROR_NS, DAY_NS

if TYPE_CHECKING:
    from pmlive.sim import SimulatedVenue

__all__ = [
    "ClobConnection",
    "ConnectionStatus",
    "Connections",
    "Dialling",
    "Ingest",
    "Names",
    "ReplayStatus",
    "Source",
    "VenueName",
    "Visit",
    "venue_meant",
]

logger = get_logger(__name__)

# Making frames of a few rows costs as much as of many: while nobody listens they are made once a second, or when read.
_UNHEARD = 1_000_000_000
# Between the last message and the end of a run; a clock that was set meanwhile is out by no more than this.
_CALM = 60_000_000_000
# The states of so many tokens take some milliseconds to write.
_STATES_AT_ONCE = 100
# Counts of so many tokens take some milliseconds to write, and more of them let a cut wait until their minute is over.
_MOST_COUNTED = 5_000
_LONGEST_WAIT = 120_000_000_000
# After states could not be written, another cut follows so many nanoseconds later.
_AGAIN = 1_000_000_000
_SPARE_NUMBERS = 1 << 20
# So many batches of gaps are known again when the clock proves to have been behind.
_BATCHES = 10_000


class Ingest:
    """The pipeline with what feeds on it: rolling frames, and a recorder when there is one."""

    def __init__(
        self,
        *,
        clock: Callable[[], int],
        rows: int,
        age: timedelta,
        depth: int,
        making: Making = "rolling",
        fresh: int = 0,
    ) -> None:
        self.clock = clock
        self._rows, self._age = rows, age
        # Counts that are so old, in nanoseconds, are still those of now.
        self._fresh = fresh
        # Which rows are made while nothing is recorded.
        self._unkept: Making = making
        self.pipeline = Pipeline(depth=depth, making=making)
        self.journal = Journal(self.pipeline)
        self.recorder: Recorder | None = None
        self.digest: Digest | None = None
        self.frames = {name: Rolling(name, rows=rows, age=age) for name in ROLLING}
        # How often the frames began anew, so that whoever follows them knows.
        self.era = 0
        self.on_rows: Callable[[dict[str, pl.DataFrame]], None] | None = None
        self.listened: Callable[[], bool] = bool
        self._flushed = 0
        # Since when a cut of the recording is due, and when another follows one that failed; 0 if none is or does.
        self._due = self._again = 0
        # Since the clock was known to be right; that of a replay always is.
        self._gaps: deque[pl.DataFrame] = deque(maxlen=_BATCHES)
        self._reported: set[str] = set()
        # The gap before this run of a recording, and the tokens of the run before it that have no book since.
        self._restart: Gap | None = None
        self._unmet: set[str] = set()

    # --- what the connections tell ---

    def opened(self, connection: FeedConnection, conn: int, now: int) -> None:
        """Note a connection and what it was asked for."""
        keys = list(connection.session.wanted) if connection.channel == "market" else []
        note = Opened(connection.channel, connection.url, keys, connection.previous)
        self.journal.note("open", conn, note, now)
        self._miss(keys)

    def received(self, connection: FeedConnection, data: bytes, events: Sequence[Event], now: int) -> None:
        """Take a frame."""
        self.journal.frame(connection.channel, connection.conn or 0, data, events, now)

    def closed(self, connection: FeedConnection, cause: Cause | None, detail: str, now: int, *, ahead: int = 0) -> None:
        """Note the end of a connection; receive times are known to be ``ahead`` of the venue's."""
        since = None if cause is None else connection.session.complete(ahead)
        self.journal.note("close", connection.conn or connection.previous or 0, Closed(cause, detail, since), now)

    def late(self, connection: FeedConnection, token_ids: Sequence[str], since: int) -> None:
        """Note tokens without an opening book."""
        for token_id in token_ids:
            self.gap(Gap(started=since, cause="late opening book", token_id=token_id, conn=connection.conn or 0))

    def gap(self, gap: Gap) -> None:
        """Note an interval that cannot be trusted."""
        self.journal.note("gap", gap.conn, gap, self.clock())

    def shift_gaps(self, by: int, *, until: int | None = None) -> None:
        """Note again, by so many nanoseconds later, the gaps that ended since this or ``pass_gaps`` was called last.

        Their times are those of our clock, and the same intervals lie elsewhere by the venue's. Those that would begin
        at ``until`` or later are left out: the caller notes another gap there.
        """
        self.flush()
        if not self._gaps:
            return
        for gap in GapIndex(pl.concat(self._gaps)).all:
            if gap.ended is not None and gap.ended > gap.started:
                shifted = _shifted(gap, by)
                if until is None or shifted.started < until:
                    self.gap(shifted)
        self.flush()
        self.pass_gaps()

    def pass_gaps(self) -> None:
        """Note that the gaps so far cover the venue's time, too."""
        self._gaps.clear()

    def keys(self, kind: str, channel: Channel, placed: dict[int, list[str]]) -> None:
        """Note tokens added to or taken from open connections."""
        if channel != "market":
            return
        for conn, token_ids in placed.items():
            if not token_ids:
                continue
            if kind == Kind.UNSUBSCRIBE:
                # What is given up before its book came has none if it is wanted again.
                known = self.pipeline.books.tokens
                self._unmet.update(each for each in token_ids if each in known and known[each].lapse is not None)
            self.journal.note(kind, conn, token_ids, self.clock())
            if kind != Kind.UNSUBSCRIBE:
                self._miss(token_ids)

    def _miss(self, token_ids: Iterable[str]) -> None:
        """Note that the gap before this run lasts, for tokens of the run before it, until their books come."""
        missed = self._unmet.intersection(token_ids) if self._unmet else ()
        self._unmet.difference_update(missed)
        for token_id in sorted(missed):
            if self._restart is not None:
                self.gap(msgspec.structs.replace(self._restart, token_id=token_id, ended=None))

    # --- what is made of it ---

    def turn(self) -> None:
        """Pass the time, and hand complete rows on: at once when somebody listens, else when there are many."""
        now = self.clock()
        if self.listened() or now - self._flushed >= _UNHEARD:
            self.flush()
        else:
            self.pipeline.tick(now)

    def flush(self) -> None:
        """Pass the time, and hand complete rows on."""
        self._flushed = self.clock()
        self.pipeline.tick(self._flushed)
        # Where a state that is being written cannot be kept whole, the recorder makes its rows anew.
        frames = self.pipeline.drain(parts=self.journal.is_writing)
        if "gaps" in frames and isinstance(self.clock, Clock):
            self._gaps.append(frames["gaps"])
        for table, frame in frames.items():
            if table in self.frames:
                self.frames[table].extend(frame)
            if self.recorder is not None and table in STORED:
                self.recorder.rows(table, frame)
            if self.digest is not None and table in STORED:
                self.digest.add(table, frame)
        if self.on_rows is not None and (frames or self.listened()):
            self.on_rows(frames)
        self._report_unknown()

    def freshen(self) -> None:
        """Hand complete rows on, if that was not done just now: many may ask for counts at once."""
        if self.clock() - self._flushed >= self._fresh:
            self.flush()

    def frame(self, table: str) -> pl.DataFrame:
        """Return the rolling rows of a table, the open gaps among those of ``gaps``."""
        self.flush()
        frame = self.frames[table].frame(self.clock())
        gaps = self.pipeline.open_gaps() if table == "gaps" else []
        return pl.concat([frame, self._open_gaps(gaps, frame.schema)]) if gaps else frame

    def _open_gaps(self, gaps: Sequence[Gap], schema: pl.Schema) -> pl.DataFrame:
        now, seq = self.clock(), self.pipeline.seq
        rows = [(seq, None, now, gap.conn, gap.token_id, gap.started, None, gap.cause, gap.detail) for gap in gaps]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _report_unknown(self) -> None:
        """Log each unknown kind of message once."""
        for kind in self.pipeline.unknown.keys() - self._reported:
            self._reported.add(kind)
            logger.warning("messages of an unknown kind %r arrive; they are kept raw and counted", kind)

    # --- recording ---

    def record(self, recorder: Recorder) -> None:
        """Keep everything from now on, beginning with the present state."""
        earlier = recorder.earlier
        if earlier is not None and isinstance(self.clock, Clock) and (told := _told(earlier)) is not None:
            self.clock.not_before(told)
        now = self.clock()
        self.pipeline.begin(now)
        self.flush()
        self.pipeline.seq = recorder.next_seq
        self.recorder, self._due, self._again = recorder, 0, 0
        self.pipeline.make("all")
        # It may have ended with an earlier recording.
        self.pipeline.ended = False
        self.journal.begin(recorder, now)
        if earlier is not None:
            self._note_restart(earlier, now)

    def _note_restart(self, earlier: Earlier, now: int) -> None:
        """The folder was recorded into before: nothing was kept since, by the venue's time and by ours.

        Times that are recorded already, by a clock that was ahead, are no time of which anything is known for sure.
        """
        last, detail = earlier.last_recv, "the recording was continued by another run"
        if now < last:
            detail += f", after the clock was set back by {(last - now) / 1e9:.0f} s"
        if _is_ahead(earlier, now):
            detail += f"; the clock of the earlier one was ahead by {earlier.late / 1e9:.0f} s"
            last -= earlier.late
        elif now < last:
            detail += "; how long nothing was kept is not known"
        self._restart = Gap(started=min(last, now), cause="restart", ended=now, detail=detail)
        self.gap(self._restart)
        waiting = {token.id for token in self.pipeline.books.tokens.values() if token.awaited}
        self._unmet = set(earlier.tokens - (self.pipeline.books.tokens.keys() - waiting))
        self._miss(waiting)
        if now < earlier.last_recv and (taken := earlier.taken(now)) is not None:
            detail = "an earlier run recorded at these times, by a clock that was ahead"
            self.gap(Gap(started=taken[0], cause="restart", ended=taken[1] + 1, detail=detail))

    def tend(self) -> None:
        """Cut the recording when it is time, and note what the recorder could not keep."""
        recorder = self.recorder
        if recorder is None:
            return
        for hole in recorder.holes():
            self.gap(hole)
        self._note_failure(recorder)
        failed = self._again
        if (recorder.poll() or failed) and self._may_cut(recorder):
            now = self.clock()
            self.journal.cut(now)
            self.flush()
            if failed:
                # Rows that are made anew without the state may be more.
                self.pipeline.seq += _SPARE_NUMBERS
            recorder.cut(self.journal.state(now))

    def _note_failure(self, recorder: Recorder) -> None:
        """Note that states could not be written, so that they are written again with another cut."""
        error, self.journal.failure = self.journal.failure, None
        if error is not None:
            recorder.invalidate_rows()
            note_fault("pmlive", error)
            self._again = self.clock() + _AGAIN

    def _may_cut(self, recorder: Recorder) -> bool:
        """Return whether a cut that is due may be now: counts that stand in its way wait for the end of the minute."""
        now = self.clock()
        self._due = self._due or now
        waits = self.pipeline.books.counted > _MOST_COUNTED and now - self._due < _LONGEST_WAIT and not self._again
        if not recorder.losing and (self.journal.is_writing or waits or now < self._again):
            return False
        self._due = self._again = 0
        return True

    def write_states(self) -> None:
        """Write a few of the states that the recording goes on with after a cut."""
        self.journal.write_states(_STATES_AT_ONCE, self.clock())

    def doubt_rows(self) -> None:
        """Note that rows may be missing or wrong; the recording makes them again of what was received."""
        if self.recorder is not None:
            self.recorder.invalidate_rows()

    def end_recording(self) -> Recorder | None:
        """Write what is open and stop keeping; the caller closes the recorder that is given back."""
        recorder = self.recorder
        if recorder is None:
            return None
        self.tend()
        self.journal.write_rest(self.clock())
        self._note_failure(recorder)
        if not self.pipeline.ended:
            self.journal.end(self.clock())
        self.flush()
        self.recorder = None
        self.journal.stop()
        self.pipeline.make(self._unkept if self.digest is None else "all")
        return recorder

    # --- a recording that is played ---

    def replay(self, record: Record) -> None:
        """Take a record of a recording, and cut one that is made of it where it was cut."""
        self.journal.replay(record)
        if record.kind == Kind.CUT and self.recorder is not None:
            self.flush()
            self.recorder.cut([])

    def prove(self) -> None:
        """Make every table from now on, and digest it."""
        self.pipeline.make("all")
        self.digest = Digest()

    def replayed(self, now: int) -> None:
        """Note that there are no more records; what a run left open when it was killed ends with them."""
        if not self.pipeline.ended:
            self.pipeline.finish(now)
        self.flush()

    def forget(self) -> None:
        """Forget everything that came: what comes next begins with the whole state."""
        self.pipeline.forget()
        self.digest = None
        self.frames = {name: Rolling(name, rows=self._rows, age=self._age) for name in ROLLING}
        self.era += 1
        self._flushed = 0


def _shifted(gap: GapInterval, by: int) -> Gap:
    """Return a gap by the venue's time; that of a restart is a silence there, and begins no later than by our time."""
    is_restart = gap.cause == "restart"
    return Gap(
        started=gap.started + (min(by, 0) if is_restart else by) - CLOCK_ERROR_NS,
        ended=(gap.until + by) + CLOCK_ERROR_NS,
        cause="silence" if is_restart else gap.cause,
        token_id=gap.token_id,
        detail=f"{gap.detail}, by the venue's time" if gap.detail else "by the venue's time",
        conn=gap.conn,
    )


def _told(earlier: Earlier) -> int | None:
    """Return the venue's time at which an earlier run last received data; None if it received none.

    A run that ends in a moment of calm ended right after that.
    """
    if earlier.heard is None:
        return None
    last = earlier.last_recv if 0 <= earlier.last_recv - earlier.heard <= _CALM else earlier.heard
    return last - (earlier.late if earlier.late >= CLOCK_ERROR_NS else 0)


def _is_ahead(earlier: Earlier, now: int) -> bool:
    """Return whether the clock of an earlier run was ahead; by more than a day only if the clock explains it."""
    return CLOCK_ERROR_NS <= earlier.late <= max(DAY_NS, 2 * (earlier.last_recv - now))


# --- sources ---
# What a manager's rows come from: the live feed of a venue, or a recording that is played.

# Told of a market that begins, or ends, to be wanted.
Visit: TypeAlias = Callable[[Market], Awaitable[None]]
VenueName: TypeAlias = Literal["polymarket", "sim"]


class ConnectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The sockets to one address: ``open`` of the ``sockets`` that should be.

    ``given_up`` means that dialling again cannot help: the credentials or the certificate were refused. ``complaints``
    holds the venue's last words by channel, ``refused`` its words on what it does not give, by key, and ``providers``
    who serves what has a choice of them.
    """

    connected: bool = False
    url: str | None = None
    open: int = 0
    sockets: int = 0
    error: str | None = None
    given_up: bool = False
    complaints: dict[str, str] = {}
    refused: dict[str, str] = {}
    providers: dict[str, str] = {}
    proxy: str | None = None


class ClobConnection(ConnectionStatus, frozen=True, kw_only=True):
    """The sockets of the market and the user channel."""

    user_connected: bool = False
    authenticated: bool = False


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """The sockets to all addresses."""

    clob: ClobConnection = ClobConnection()
    realtime: ConnectionStatus = ConnectionStatus()


class Dialling(msgspec.Struct, frozen=True, kw_only=True):
    """How often was dialled, and how often in vain; ``last_reconnect`` is in ISO 8601."""

    connection_errors: int = 0
    reconnect_count: int = 0
    last_reconnect: str | None = None
    dials: int = 0


class ReplayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a recording was played; times are in ISO 8601."""

    position: str
    first: str
    last: str
    speed: Speed
    paused: bool
    finished: bool
    folders: list[str]


class Names(Protocol):
    """Where markets are looked up."""

    async def markets(self, texts: Iterable[str]) -> list[Market]:
        """Find the markets that texts mean."""
        ...

    async def found(self, texts: Iterable[str]) -> list[Found]:
        """Find the markets that each text means, and what of it is not understood."""
        ...

    async def now(self, markets: Sequence[Market], state: Literal["open", "closed"], /) -> list[Market]:
        """List those of some markets that are open, or closed, as they are now."""
        ...

    async def by_tokens(self, token_ids: Sequence[str]) -> dict[str, Market]:
        """Find the markets of tokens, by token; unknown ones are left out."""
        ...


class Source(Protocol):
    """Fills an ingest; every method is called in the manager's thread."""

    clock: Callable[[], int]
    ingest: Ingest
    # What cannot be had any more, by channel, and the tokens whose markets are over.
    errors: dict[Channel, PmliveError]
    settled: set[str]
    # Tokens of which there is no book, and when they were last heard before that was known (ns).
    gone: dict[str, int]
    # Who is told of markets that were made just now, when somebody waits for one.
    on_new_market: Callable[[NewMarket], None] | None
    # Whether nobody is asked for anything, so that no credentials are needed.
    recorded: bool

    @property
    def refused(self) -> dict[str, str]:
        """Why the venue refuses some keys, in its words."""
        ...

    @property
    def catalogue(self) -> Names:
        """Where the markets of this source are looked up."""
        ...

    def want(self, channel: Channel, keys: Sequence[str]) -> None:
        """Ask for keys."""
        ...

    def want_everything(self, channel: Channel) -> None:
        """Ask for all there is."""
        ...

    def unwant(self, channel: Channel, keys: Sequence[str]) -> None:
        """Ask no more for keys."""
        ...

    def drop_channel(self, channel: Channel) -> None:
        """Ask for nothing of a channel any more."""
        ...

    def refresh(self) -> None:
        """Ask for every open book anew."""
        ...

    def follow(self, series: Series, add: Visit, drop: Visit, /) -> "asyncio.Task[None]":
        """Add each market of a series when its time comes, and drop it after."""
        ...

    def told_resolution(self, condition_id: str, /) -> bool:
        """Return whether a market's outcome is known already."""
        ...

    def spawn(self, coroutine: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """Run something beside; it is cancelled when the source ends."""
        ...

    async def run(self) -> None:
        """Keep time, until cancelled."""
        ...

    async def stop(self) -> None:
        """End everything."""
        ...

    def connections(self) -> Connections:
        """Describe the connections, for ``status()``."""
        ...

    def dialling(self) -> Dialling:
        """Count dials and their failures, for ``status()``."""
        ...

    def playing(self) -> ReplayStatus | None:
        """Return how far a recording was played, for ``status()``; None where none is."""
        ...


def venue_meant(venue: object) -> "tuple[SimulatedVenue | None, Venue]":
    """Return the addresses that are meant, and the simulated venue, started, if that is meant.

    Raises:
        TypeError: it is neither a name nor addresses.
        ValueError: no venue has this name.
    """
    if venue is None:
        return None, Venue.from_environment()
    if isinstance(venue, Venue):
        return None, venue
    if venue == "polymarket":
        return None, Venue()
    if venue == "sim":
        return _simulated()
    if not isinstance(venue, str):
        raise TypeError(f"venue must be 'sim', 'polymarket' or a pmlive.Venue; got {type(venue).__name__}")
    raise ValueError(f"venue {venue!r} is neither 'sim' nor 'polymarket'; for other addresses give a pmlive.Venue")


def _simulated() -> "tuple[SimulatedVenue, Venue]":
    """Start a simulated venue in this process."""
    from pmlive.sim import SimulatedVenue  # a server, needed by nobody else

    sim = SimulatedVenue()
    sim.start()
    return sim, Venue.from_environment(Variables(sim.environment()))
