"""A recording as the source of a manager's rows: what was received is received again, and nobody is asked."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from pmlive.errors import PmliveError
from pmlive.events import Channel, NewMarket
from pmlive.manager.desk import Desk
from pmlive.manager.engine import Options
from pmlive.manager.source import ClobConnection, Connections, ConnectionStatus, Dialling, ReplayStatus, Visit
from pmlive.manager.tasks import Tasks
from pmlive.markets import Market, Series
from pmlive.records import Kind, Opened, read_note
from pmlive.replay import Player, RecordedNames, Speed, Timeline
from pmlive.store import Record
from pmlive.times import moment

__all__ = ["Played"]


# A recorder of what is played may have so many bytes to write; then playing waits.
_ROOM = 16 << 20


class Played:
    """Plays recordings to a desk, in the loop of the manager that holds it."""

    recorded = True

    def __init__(
        self, timeline: Timeline, markets: Sequence[Market], options: Options, *, speed: Speed, paused: bool
    ) -> None:
        self.player = Player(timeline, self, speed=speed, paused=paused)
        # Rows have the numbers that they have in the recording.
        self.desk = Desk(clock=self.clock, rows=options.rows, age=options.age, depth=options.depth, making="numbered")
        self.catalogue = RecordedNames(markets)
        self.errors: dict[Channel, PmliveError] = {}
        self.settled: set[str] = set()
        self.gone: dict[str, int] = {}
        self.on_new_market: Callable[[NewMarket], None] | None = None
        self._urls: dict[Channel, str] = {}
        self._reconnects = 0
        self._tasks = Tasks()
        self.spawn = self._tasks.spawn

    def clock(self) -> int:
        """Give the time of the recording."""
        return self.player.position

    # --- what the player tells ---

    def take(self, frames: Sequence[Record]) -> None:
        """Take frames, as they were taken live."""
        self.desk.journal.replay_frames(frames)

    def note(self, record: Record) -> None:
        """Take a note of what happened besides, as it was taken live."""
        if record.kind == Kind.OPEN and isinstance(note := read_note(record), Opened):
            self._urls[note.channel] = note.url
            self._reconnects += note.replaces is not None
        self.desk.replay(record)

    def restart(self) -> None:
        """Forget what was played."""
        self.desk.forget()

    def finish(self, now: int) -> None:
        """Note the end of the recording."""
        self.desk.replayed(now)

    def turn(self) -> None:
        """Hand complete rows on."""
        self.desk.turn()

    def has_room(self) -> bool:
        """Tell whether a recorder of what is played keeps up."""
        recorder = self.desk.recorder
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
        """Tell of the markets of a series that were recorded."""

        async def tell() -> None:
            for market in self.catalogue.of_series(series.name):
                await add(market)

        return self.spawn(tell())

    def told_resolution(self, _condition_id: str) -> bool:
        """Say that nothing more is to be asked."""
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
        """Say that nothing was refused: nobody was asked."""
        return {}

    # --- what is told of it ---

    def connections(self) -> Connections:
        """Describe the connections as they were at this time of the recording."""
        has_user = any(link.channel == "user" and link.gap is None for link in self.desk.pipeline.links.values())
        clob = ClobConnection(
            **msgspec.structs.asdict(self._described(("market", "user"))),
            user_connected=has_user,
            authenticated=has_user,
        )
        return Connections(clob=clob, realtime=self._described(("realtime", "prices")))

    def _described(self, channels: tuple[Channel, ...]) -> ConnectionStatus:
        links = [link for link in self.desk.pipeline.links.values() if link.channel in channels]
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
        """Tell how far the recording was played."""
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
