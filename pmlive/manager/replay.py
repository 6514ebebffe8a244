"""A recording as a manager: the object that a researcher held live, at any time and speed."""

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from pmlive.errors import PmliveError
from pmlive.events import Channel, NewMarket
from pmlive.manager.core import Manager
from pmlive.manager.engine import Engine, Options
from pmlive.manager.ingest import ClobConnection, Connections, ConnectionStatus, Dialling, Ingest, ReplayStatus, Visit
from pmlive.manager.keys import Wanted
from pmlive.manager.subscriptions import Handler
from pmlive.markets import Market, Series
from pmlive.records import Kind, Opened, read_note
from pmlive.replay import Player, RecordedCatalogue, Speed, Timeline, recorded_markets
from pmlive.samples import is_simulated, simulated_tokens
from pmlive.settings import Venue
from pmlive.store import Record
from pmlive.tables import Digest
from pmlive.threads import Tasks
from pmlive.times import Time, moment, nanoseconds

__all__ = ["Replay"]

# A recorder of what is played may have so many bytes to write; then playing waits.
_ROOM = 16 << 20


class Played:
    """Plays recordings to a ingest, in the loop of the manager that holds it."""

    recorded = True

    def __init__(
        self, timeline: Timeline, markets: Sequence[Market], options: Options, *, speed: Speed, paused: bool
    ) -> None:
        self.player = Player(timeline, self, speed=speed, paused=paused)
        # Rows have the numbers that they have in the recording.
        self.ingest = Ingest(
            clock=self.clock, rows=options.rows, age=options.age, depth=options.depth, making="numbered"
        )
        self.catalogue = RecordedCatalogue(markets)
        self.errors: dict[Channel, PmliveError] = {}
        self.settled: set[str] = set()
        self.gone: dict[str, int] = {}
        self.on_new_market: Callable[[NewMarket], None] | None = None
        self._urls: dict[Channel, str] = {}
        self._reconnects = 0
        self._tasks = Tasks()
        self.spawn = self._tasks.spawn

    def clock(self) -> int:
        """Return the time of the recording."""
        return self.player.position

    # --- what the player tells ---

    def take(self, frames: Sequence[Record]) -> None:
        """Take frames, as they were taken live."""
        self.ingest.journal.replay_frames(frames)

    def note(self, record: Record) -> None:
        """Take a note of what happened besides, as it was taken live."""
        if record.kind == Kind.OPEN and isinstance(note := read_note(record), Opened):
            self._urls[note.channel] = note.url
            self._reconnects += note.replaces is not None
        self.ingest.replay(record)

    def restart(self) -> None:
        """Forget what was played."""
        self.ingest.forget()

    def finish(self, now: int) -> None:
        """Note the end of the recording."""
        self.ingest.replayed(now)

    def turn(self) -> None:
        """Hand complete rows on."""
        self.ingest.turn()

    def has_room(self) -> bool:
        """Return whether a recorder of what is played keeps up."""
        recorder = self.ingest.recorder
        return recorder is None or recorder.status().pending_bytes < _ROOM

    # --- what is wanted is what was recorded ---

    def want(self, channel: Channel, keys: Sequence[str]) -> None:
        """Ask nobody."""

    def want_everything(self, channel: Channel) -> None:
        """Ask nobody."""

    def unwant(self, channel: Channel, keys: Sequence[str]) -> None:
        """Ask nobody."""

    def drop_channel(self, channel: Channel) -> None:
        """Ask nobody."""

    def refresh(self) -> None:
        """Ask nobody: the recording tells what the books are."""

    def follow(self, series: Series, add: Visit, _drop: Visit) -> asyncio.Task[None]:
        """Add the markets of a series that were recorded."""

        async def tell() -> None:
            for market in self.catalogue.of_series(series.name):
                await add(market)

        return self.spawn(tell())

    def told_resolution(self, _condition_id: str) -> bool:
        """Return True: nothing is to be looked up."""
        return True

    # --- the clockwork ---

    async def run(self) -> None:
        """Play, until cancelled."""
        await self.player.run()

    async def stop(self) -> None:
        """End everything."""
        await self._tasks.cancel()

    @property
    def refused(self) -> dict[str, str]:
        """Nothing: nobody was asked."""
        return {}

    # --- what is told of it ---

    def connections(self) -> Connections:
        """Describe the connections as they were at this time of the recording."""
        has_user = any(link.channel == "user" and link.gap is None for link in self.ingest.pipeline.links.values())
        clob = ClobConnection(
            **msgspec.structs.asdict(self._described(("market", "user"))),
            user_connected=has_user,
            authenticated=has_user,
        )
        return Connections(clob=clob, realtime=self._described(("realtime", "prices")))

    def _described(self, channels: tuple[Channel, ...]) -> ConnectionStatus:
        links = [link for link in self.ingest.pipeline.links.values() if link.channel in channels]
        unbroken = sum(link.gap is None for link in links)
        return ConnectionStatus(
            connected=unbroken > 0,
            url=next((self._urls[channel] for channel in channels if channel in self._urls), None),
            open=unbroken,
            sockets=len(links),
        )

    def dialling(self) -> Dialling:
        """Count the connections that took the place of broken ones."""
        return Dialling(reconnect_count=self._reconnects)

    def playing(self) -> ReplayStatus:
        """Return how far the recording was played."""
        player = self.player
        return ReplayStatus(
            position=moment(player.position).isoformat(),
            first=moment(player.timeline.first).isoformat(),
            last=moment(player.timeline.last).isoformat(),
            speed=player.speed,
            paused=player.paused,
            finished=player.finished,
            folders=[str(folder) for folder in player.timeline.folders],
        )


class Replay(Manager):
    """Play recordings: frames, books, subscriptions and status are those of a ``Manager`` at that time.

    What was received goes through the code that it went through live, so a replay from the beginning gives the very
    rows that were recorded. Nobody is asked for anything, and no credentials are needed. Subscriptions choose what
    callbacks and readers get; frames and books hold everything that was recorded.

    Args:
        folders: a recording, or several that are merged by receive time.
        speed: seconds of the recording in one second; ``"max"`` plays all before it returns, unless ``paused``.
        paused: whether to wait for ``resume``, ``step`` or ``seek``.
        prove: whether to make every table of a recording and digest it, for ``digest()``.
        notification_callback: gets updates as dictionaries, for subscriptions of callback type ``notification``.
        log_callback: the same for callback type ``log``.
        rows: the most rows a rolling frame keeps.
        age: the oldest rows it keeps, by receive time.
        depth: levels a side in the frame of ladders.

    Raises:
        StoreError: a folder is no recording, or has no raw frames.
        ValueError: the speed is none.
    """

    def __init__(  # noqa: PLR0913  # each is by name, and has a default
        self,
        folders: Path | Sequence[Path],
        *,
        speed: Speed = 1.0,
        paused: bool = False,
        prove: bool = False,
        notification_callback: Handler | None = None,
        log_callback: Handler | None = None,
        rows: int = 200_000,
        age: timedelta = timedelta(hours=6),
        depth: int = 10,
    ) -> None:
        timeline = Timeline([folders] if isinstance(folders, Path) else folders)
        markets = [market for folder in timeline.folders for market in recorded_markets(folder)]
        options = Options(rows=rows, age=age, depth=depth)
        self._played = played = Played(timeline, markets, options, speed=speed, paused=True)
        self._begin(
            Engine(Venue(), None, options, lambda _: played),
            {"notification": notification_callback, "log": log_callback},
        )
        simulated = [is_simulated(folder) for folder in timeline.folders]
        self.simulated = all(simulated)
        of_simulated = [tokens for tokens, flag in zip(timeline.tokens, simulated, strict=False) if flag]
        self.simulated_tokens = frozenset().union(*of_simulated, *map(simulated_tokens, timeline.folders))
        self._engine.call(lambda: self._engine.learn(Wanted([], markets)))
        try:
            self._start(paused=paused, prove=prove)
        except BaseException:
            # Nobody is given it, who could close it.
            self.close()
            raise

    def _start(self, *, paused: bool, prove: bool) -> None:
        if prove:
            self._engine.call(self._played.ingest.prove)
        if not paused:
            self.resume()
            if self._played.player.speed == "max":
                self.wait()

    def is_simulated(self, token_id: str) -> bool:
        """Check whether a token is known to be of a simulated venue; of several recordings, its own one counts."""
        return self.simulated or token_id in self.simulated_tokens

    # --- where it stands ---

    @property
    def position(self) -> datetime:
        """The time of the recording that playing has come to."""
        return moment(self._engine.call(lambda: self._played.player.position))

    @property
    def first_time(self) -> datetime:
        """The time of the first record."""
        return moment(self._played.player.timeline.first)

    @property
    def last_time(self) -> datetime:
        """The time of the last record."""
        return moment(self._played.player.timeline.last)

    @property
    def paused(self) -> bool:
        """Whether it is paused."""
        return self._played.player.paused

    @property
    def finished(self) -> bool:
        """Whether everything was played."""
        return self._played.player.finished

    @property
    def failed(self) -> Exception | None:
        """Why it cannot be played any further, None while it can."""
        return self._played.player.failed

    @property
    def speed(self) -> Speed:
        """Seconds of the recording in one second, or ``"max"``; may be set while it plays."""
        return self._played.player.speed

    @speed.setter
    def speed(self, speed: Speed) -> None:
        self._engine.call(lambda: self._played.player.set_speed(speed))

    # --- moving ---

    def pause(self) -> None:
        """Pause."""
        self._engine.call(self._played.player.pause)

    def resume(self) -> None:
        """Go on."""
        self._engine.call(self._played.player.resume)

    def seek(self, at: Time) -> None:
        """Go to a time of the recording, back or forth, and stand or play on as before; at ``"max"`` it stands.

        Books are then what they were. Frames hold what came since the last place before where the books were written
        down, at most five minutes.

        Args:
            at: ISO 8601 text (UTC where it says no zone), a datetime, or nanoseconds since 1970.

        Raises:
            ValueError: the recording has no such time, or what is played is being recorded.
        """
        if self._lifecycle.recorder is not None:
            raise ValueError("what is played is being recorded, so it cannot jump; call stop_recording first")
        time = nanoseconds(at)
        self._engine.call(lambda: self._played.player.seek(time))
        self._engine.wait(self._played.player.wait_for_seek())

    def step(self, frames: int = 1) -> int:
        """Play the next frames that were received, and pause; return how many there were.

        Raises:
            ValueError: fewer than one.
        """
        if frames < 1:
            raise ValueError(f"a step takes 1 frame or more; got {frames}")
        self.pause()
        return self._engine.call(lambda: self._played.player.step(frames))

    def wait(self) -> None:
        """Wait until it stops: everything was played, or it was paused.

        Raises:
            PmliveError: the recording could not be played to its end.
        """
        self._engine.wait(self._played.player.wait_until_idle())

    def digest(self) -> str:
        """Return the fingerprint of all tables, books among them, that were made so far.

        After a whole replay it is that of the recording (``Recording.digest``), and of a recording made of the replay.

        Raises:
            ValueError: the replay was not made with ``prove=True``, or was sent to another time since.
        """
        return self._engine.call(self._digested)

    def _digested(self) -> str:
        self._played.ingest.flush()
        digest: Digest | None = self._played.ingest.digest
        if digest is None:
            raise ValueError("there is no digest: make the replay with prove=True, and play it from the beginning")
        return digest.hexdigest()

    def __repr__(self) -> str:
        """Return what is played and how far, in one line."""
        timeline, names = (
            self._played.player.timeline,
            ", ".join(str(folder) for folder in self._played.player.timeline.folders),
        )
        whole = max(timeline.last - timeline.first, 1)
        share = (self._played.player.position - timeline.first) / whole
        state = "finished" if self.finished else "paused" if self.paused else f"speed {self.speed}"
        return f"<Replay of {names}, {math.floor(100 * share)} % played, {state}>"
