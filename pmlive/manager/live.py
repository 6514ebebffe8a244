"""The live feed: sockets, the ingest they report to, and the second opinions that REST gives on silence."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from statistics import median_low

import msgspec

from pmlive import _wire
from pmlive._session import Timing
from pmlive.errors import FeedError, PmliveError, ProtocolError
from pmlive.events import BookSnapshot, Cause, Channel, Event, Gap, NewMarket
from pmlive.feed import Clock, FeedConnection, Pool, elapsed
from pmlive.logs import get_logger
from pmlive.manager.ingest import ClobConnection, Connections, ConnectionStatus, Dialling, Ingest, Visit
from pmlive.manager.keys import follow
from pmlive.markets import Catalogue, Series
from pmlive.pipeline import Token
from pmlive.pipeline.turns import Turns
from pmlive.proxies import Proxy, proxy_for
from pmlive.retries import DialPolicy
from pmlive.settings import Venue
from pmlive.threads import Tasks, note_fault
from pmlive.times import CLOCK_ERROR_NS, DAY_NS, LONGEST_LATENCY_NS, moment, utc

__all__ = ["CrossCheckPolicy", "Live"]

logger = get_logger(__name__)

_TICK = 0.1
# Between states that are written, so that the sockets are read.
_BREATH = 0.005
_FRESH = 50_000_000
_S = 1_000_000_000
# So many tokens are looked at each second; of more, a part such that a round of all takes so many seconds.
_LOOKED_AT, _ROUND = 1_000, 30
# So many checks that agreed tell that a token used to be heard.
_OFTEN = 30


class CrossCheckPolicy(msgspec.Struct, frozen=True):
    """When silence is compared with REST, in seconds.

    A token that was not heard for ``quiet`` is, ``sample`` of them at a time, and one that used to be heard for
    ``frozen`` while its market or its connection goes on; REST is given ``answer``, and the stream may lag ``grace``
    behind it. From a market that was resolved ``settled`` ago nothing more is expected. A process that did not run for
    ``pause`` knows nothing of that time.
    """

    quiet: float = 300.0
    frozen: float = 60.0
    answer: float = 10.0
    grace: float = 5.0
    sample: int = 5
    settled: float = 60.0
    pause: float = 5.0


class Live:
    """The feed of one manager; every method runs in its loop, inside ``run``."""

    recorded = False

    def __init__(  # noqa: PLR0913  # an engine hands everything on
        self,
        venue: Venue,
        catalogue: Catalogue,
        *,
        credentials: Callable[[], dict[str, str]],
        policy: DialPolicy | None,
        rows: int,
        age: timedelta,
        depth: int,
        timing: dict[Channel, Timing] | None = None,
        cross_check: CrossCheckPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self._cross_check = cross_check or CrossCheckPolicy()
        self.ingest = Ingest(clock=self.clock, rows=rows, age=age, depth=depth, fresh=_FRESH)
        self.catalogue = catalogue
        self.urls = _urls(venue)
        # Asked for now, so that whoever begins is told of a proxy that cannot be used.
        self.proxies: dict[Channel, Proxy | None] = {channel: proxy_for(url) for channel, url in self.urls.items()}
        self.pool = Pool(self.urls, self, clock=self.clock, policy=policy, timing=timing, credentials=credentials)
        self.errors: dict[Channel, PmliveError] = {}
        self.reconnects = 0
        self.last_reconnect: int | None = None
        # Tokens whose markets are over, so that nobody asks for them any more.
        self.settled: set[str] = set()
        self.gone: dict[str, int] = {}
        self.on_new_market: Callable[[NewMarket], None] | None = None
        # When each token was last compared with REST, and when REST last agreed.
        self._compared: dict[str, int] = {}
        self._agreed: dict[str, int] = {}
        self._checked = 0
        # The tokens whose silence is looked at, some at a time.
        self._turns = Turns()
        # Since when the process runs again, if it did not.
        self._ran = 0
        self._unmet_after = (timing or {}).get("market", Timing()).opening
        self._tasks = Tasks()
        self.spawn = self._tasks.spawn

    # --- what the connections tell ---

    def opened(self, connection: FeedConnection, conn: int, now: int) -> None:
        """Note a connection."""
        if connection.previous is not None:
            self.reconnects, self.last_reconnect = self.reconnects + 1, now
        self.ingest.opened(connection, conn, now)

    def received(self, connection: FeedConnection, data: bytes, events: Sequence[Event], now: int) -> None:
        """Take a frame."""
        self.ingest.received(connection, data, events, now)
        if self.on_new_market is not None:
            for event in events:
                if isinstance(event, NewMarket):
                    self.on_new_market(event)

    def closed(self, connection: FeedConnection, cause: Cause | None, detail: str, now: int) -> None:
        """Note the end of a connection."""
        self.ingest.closed(connection, cause, detail, now, ahead=self.clock.ahead)
        if cause is not None and connection.too_big:
            self.ingest.keys("subscribe", connection.channel, self.pool.halve(connection))

    def late(self, connection: FeedConnection, token_ids: Sequence[str], since: int) -> None:
        """Note tokens without an opening book; their markets may be over."""
        self.ingest.late(connection, token_ids, since)
        for token_id in token_ids:
            self._note_gone(token_id)

    def failed(self, connection: FeedConnection, error: PmliveError) -> None:
        """Stop a channel that the venue refuses."""
        self.errors[connection.channel] = error

    def fetch(self, connection: FeedConnection, token_ids: Sequence[str]) -> None:
        """Get books by REST that the socket did not send."""
        self.spawn(self._fetch(connection, connection.conn, token_ids))

    def witness(self, connection: FeedConnection, since: int) -> None:
        """Ask REST whether a silent connection is calm or frozen."""
        self.spawn(self._witness(connection, connection.conn, since))

    # --- the clockwork ---

    async def run(self) -> None:
        """Keep time, until cancelled."""
        ran = elapsed()
        while True:
            await self._pause()
            before, ran = ran, elapsed()
            self._guard(partial(self._keep_time, ran - before))

    def _guard(self, task: Callable[[], None]) -> None:
        """Run a task of the clockwork, which stops for no error: rows and snapshots wait for it."""
        try:
            task()
        except BaseException as error:  # noqa: BLE001  # it is noted, and what it may have spoilt is made anew
            self.ingest.doubt_rows()
            note_fault("pmlive", error)

    def _keep_time(self, lasted: int) -> None:
        self._note_stop(lasted)
        self._note_step()
        self._turn()

    async def _pause(self) -> None:
        """Wait until the next turn; states of a recording are written meanwhile, between other things."""
        ends = time.monotonic() + _TICK
        while self.ingest.journal.is_writing and time.monotonic() < ends:
            self._guard(self.ingest.write_states)
            await asyncio.sleep(_BREATH)
        await asyncio.sleep(max(0.0, ends - time.monotonic()))

    def _note_stop(self, lasted: int) -> None:
        """Note that the process was stopped or the machine slept, up to when all that was sent meanwhile is read."""
        if lasted >= self._cross_check.pause * _S:
            now = self.clock()
            self._know_nothing(now - lasted, now, f"the process did not run for {lasted / _S:.0f} s")
        elif (gap := self.ingest.pipeline.stopped) is not None and self.pool.complete_until(self._ran) >= self._ran:
            self.ingest.gap(msgspec.structs.replace(gap, ended=self.clock()))

    def _note_step(self) -> None:
        """Note that the wall clock was set: receive times leave an interval out, or are too late for some time."""
        step = self.clock.step()
        if step is None:
            return
        if step.by > 0:
            self.ingest.shift_gaps(step.by, until=step.since)
            detail = f"the clock was set ahead by {step.by / _S:.1f} s; receive times before it are too early"
            self._know_nothing(step.since, self.clock(), detail)
            return
        now, took = self.clock(), self.clock.ahead / _S
        detail = f"the clock was set back by {-step.by / _S:.1f} s; receive times come right within {2 * took:.0f} s"
        self.ingest.gap(Gap(started=now, cause="silence", ended=now, detail=detail))
        logger.warning("%s", detail)

    def _note_offset(self) -> None:
        """Note gaps by the venue's time, too, where our clock is so far from it that they lie beside it.

        A smaller distance is within the gaps, as is what is known since the clock was set back.
        """
        offsets = [one.session.offset for one in self.pool.of("market") if one.session.offset is not None]
        if not offsets:
            return
        offset = median_low(offsets)
        if self.clock.ahead >= CLOCK_ERROR_NS or -CLOCK_ERROR_NS <= offset <= LONGEST_LATENCY_NS:
            self.ingest.pass_gaps()
        elif abs(offset) <= DAY_NS:  # what differs by more is another venue's time: a simulated one's
            self.ingest.shift_gaps(-offset)

    def _know_nothing(self, since: int, now: int, detail: str) -> None:
        """Begin a gap of everything, which ends when all that was sent until now has been read."""
        self._ran = now
        if self.ingest.pipeline.stopped is None:
            self.ingest.gap(Gap(started=since, cause="silence", detail=detail))
        logger.warning("%s: of that time nothing is known", detail)

    def _turn(self) -> None:
        self.ingest.turn()
        self.ingest.tend()
        self._ask_for_snapshots()
        now = self.clock()
        if now - self._checked >= _S:
            self._checked = now
            self._note_offset()
            self._let_settled_go(now)
            self._note_unmet(now)
            self._check_quiet_tokens(now)

    def told_resolution(self, condition_id: str) -> bool:
        """Return whether a market's outcome is known already."""
        return condition_id in self.ingest.pipeline.resolved

    # --- what is wanted ---

    def want(self, channel: Channel, keys: Sequence[str]) -> None:
        """Ask for keys, but for those whose markets are over."""
        keys = [key for key in keys if key not in self.settled]
        placed = self.pool.want(channel, keys)
        asked = {key for placed_keys in placed.values() for key in placed_keys}
        self.ingest.keys("want", channel, {0: [key for key in keys if key not in asked]})
        self.ingest.keys("subscribe", channel, placed)

    def want_everything(self, channel: Channel) -> None:
        """Ask for all there is."""
        self.pool.want_everything(channel)

    def unwant(self, channel: Channel, keys: Sequence[str]) -> None:
        """Ask no more for keys."""
        self.ingest.keys("unsubscribe", channel, self.pool.unwant(channel, keys))

    def drop_channel(self, channel: Channel) -> None:
        """Ask for nothing of a channel any more."""
        self.pool.drop_channel(channel)

    def refresh(self) -> None:
        """Ask for every open book anew."""
        self.pool.resync([token.id for token in self.ingest.pipeline.books.tokens.values() if token.conn])

    def follow(self, series: Series, add: Visit, drop: Visit) -> asyncio.Task[None]:
        """Add the present and next market of a series, and drop those that ended."""
        return self.spawn(follow(series, self.catalogue, add, drop))

    async def stop(self) -> None:
        """End every connection and task."""
        await self.pool.stop()
        await self._tasks.cancel()
        await self.catalogue.close()

    def _ask_for_snapshots(self) -> None:
        """Ask for the books that a check found wrong, each at most once a minute."""
        now = self.clock()
        wanted = self.ingest.pipeline.books.gaps.wanted
        due = [token_id for token_id, at in wanted.items() if now >= at]
        for token_id in due:
            wanted[token_id] = now + 60 * _S
            self.ingest.pipeline.books.tokens[token_id].asked = now
        if due:
            self.pool.resync(due)

    def _let_settled_go(self, now: int) -> None:
        """Drop what is over: the venue has no books of it, and ends a connection that carries nothing else."""
        for told, event in self.ingest.pipeline.resolved.values():
            if now - told >= self._cross_check.settled * _S:
                self.settled.update(event.token_ids)
        gone = sorted(self.settled & self.ingest.pipeline.books.tokens.keys())
        if gone:
            self.unwant("market", gone)
        for token_id in self.gone.keys() - self.ingest.pipeline.books.tokens.keys():
            del self.gone[token_id]

    @property
    def refused(self) -> dict[str, str]:
        """Why the venue refuses some keys, in its words."""
        found: dict[str, str] = {}
        for connection in self.pool.connections:
            found |= connection.session.refused
        return found

    # --- what is told of it ---

    def connections(self) -> Connections:
        """Describe the connections."""
        users = self.pool.of("user")
        clob = ClobConnection(
            **msgspec.structs.asdict(self._described(("market", "user"))),
            user_connected=any(one.connected for one in users),
            authenticated=any(one.connected and one.session.useful for one in users),
        )
        return Connections(clob=clob, realtime=self._described(("realtime", "prices")))

    def _described(self, channels: tuple[Channel, ...]) -> ConnectionStatus:
        connections = [one for channel in channels for one in self.pool.of(channel)]
        errors = [str(self.errors[channel]) for channel in channels if channel in self.errors]
        refused: dict[str, str] = {}
        providers: dict[str, str] = {}
        for one in connections:
            refused |= one.session.refused
            providers |= one.session.providers
        troubles = (one.last_error for one in connections if one.last_error and not one.connected)
        proxy = self.proxies[channels[0]]
        return ConnectionStatus(
            connected=any(one.connected for one in connections),
            url=self.urls[channels[0]],
            open=sum(one.connected for one in connections),
            sockets=len(connections),
            error="; ".join(errors + [_told(*each) for each in refused.items()]) or next(troubles, None),
            given_up=bool(errors),
            complaints={one.channel: one.complaint for one in connections if one.complaint},
            refused=refused,
            providers=providers,
            proxy=None if proxy is None else proxy.shown,
        )

    def dialling(self) -> Dialling:
        """Count dials and their failures."""
        connections, last = self.pool.connections, self.last_reconnect
        return Dialling(
            connection_errors=sum(one.errors for one in connections) + self.pool.past_errors,
            reconnect_count=self.reconnects,
            last_reconnect=None if last is None else moment(last).isoformat(),
            dials=sum(one.dials for one in connections) + self.pool.past_dials,
        )

    def playing(self) -> None:
        """Return None: no recording is played."""

    # --- second opinions ---

    def _check_quiet_tokens(self, now: int) -> None:
        for token, is_odd in self._quiet_tokens(now)[: self._cross_check.sample]:
            self._compared[token.id] = now
            self.spawn(self._check_token(token, is_odd=is_odd))

    def _quiet_tokens(self, now: int) -> list[tuple[Token, bool]]:
        """List the tokens whose silence is to be compared with REST, those first whose silence is odd."""
        found: list[tuple[Token, bool]] = []
        for token in self._in_turn():
            silent = now - max(token.heard, self._compared.get(token.id, 0))
            if silent < min(self._cross_check.frozen, self._cross_check.quiet) * _S or not token.trusted():
                continue
            is_odd = self._is_odd(token)
            if silent >= (self._cross_check.frozen if is_odd else self._cross_check.quiet) * _S:
                found.append((token, is_odd))
        return sorted(found, key=lambda one: (not one[1], one[0].heard))

    def _in_turn(self) -> Sequence[Token]:
        """Return the tokens to look at now: all if there are few, else some, so that a round takes half a minute."""
        tokens = self.ingest.pipeline.books.tokens
        if len(tokens) <= _LOOKED_AT:
            return list(tokens.values())
        found = self._turns.take(tokens, max(_LOOKED_AT, len(tokens) // _ROUND))
        return [tokens[token_id] for token_id in found if token_id in tokens]

    def _is_odd(self, token: Token) -> bool:
        """Return whether a token is silent though its market goes on, or its connection if it used to be heard."""
        pipeline, frozen = self.ingest.pipeline, self._cross_check.frozen * _S
        market = max(each.heard for each in pipeline.books.of_market(token.market))
        used_to = token.checked >= _OFTEN
        return market - token.heard >= frozen or (used_to and pipeline.heard.get(token.conn, 0) - token.heard >= frozen)

    def _note_unmet(self, now: int) -> None:
        """Note tokens for which no connection was opened in time; an open one reports late books itself."""
        for gap in self.ingest.pipeline.books.unmet(now - self._unmet_after):
            if not gap.conn:
                self.ingest.gap(msgspec.structs.replace(gap, detail="no connection was had to ask for it"))

    async def _check_token(self, token: Token, *, is_odd: bool) -> None:
        """Compare one token with REST; one that the stream forgot has a gap since it was last known to be right."""
        asked, since = self.clock(), max(token.heard, self._agreed.get(token.id, 0))
        try:
            ahead = await self._is_ahead(token)
        except PmliveError as error:
            logger.warning("a silent token could not be compared with REST: %s", error)
            if is_odd and token.trusted():
                detail = f"it is silent while others are not, and REST does not answer: {error}"
                await self._ask_anew([token], since, detail)
            return
        if ahead:
            self._lose(token, since, "REST has a newer book than the stream sent")
        else:
            self._agreed[token.id] = asked

    def _lose(self, token: Token, since: int, detail: str) -> None:
        started = since - self.clock.ahead
        self.ingest.gap(Gap(started=started, cause="silence", token_id=token.id, detail=detail, conn=token.conn))

    async def _witness(self, connection: FeedConnection, conn: int | None, since: int) -> None:
        tokens = self.ingest.pipeline.books.tokens
        sample = [tokens[key] for key in connection.session.wanted if key in tokens and tokens[key].trusted()]
        sample.sort(key=lambda token: token.heard, reverse=True)
        asked = self.clock()
        found = await asyncio.gather(
            *(self._is_ahead(token) for token in sample[: self._cross_check.sample]), return_exceptions=True
        )
        for fault in found:
            if isinstance(fault, BaseException) and not isinstance(fault, PmliveError):
                raise fault
        if connection.conn != conn or conn is None:
            return
        if True in found:
            connection.give_up(f"no data since {utc(since)} UTC, while REST has newer books")
        elif False in found or not sample:
            connection.session.witnessed(asked)
        else:
            await self._unwitnessed(connection, conn, since, f"no data, and REST does not answer: {found[0]}")

    async def _unwitnessed(self, connection: FeedConnection, conn: int, since: int, detail: str) -> None:
        """Find out whether a connection is calm or frozen when REST cannot tell; try another when it stays silent."""
        tokens = [token for token in self.ingest.pipeline.books.carried(conn) if token.conn == conn]
        is_silent = await self._ask_anew(tokens, since, detail)
        logger.warning("connection %d to %s: %s", conn, connection.url, detail)
        if is_silent and connection.conn == conn and self.clock() - since >= 2 * connection.session.patience:
            connection.give_up(detail)

    async def _ask_anew(self, tokens: Sequence[Token], since: int, detail: str) -> bool:
        """Ask the socket for books that nothing has confirmed since a time; return whether it sent none.

        A book that comes is compared with ours. One that stays away is not trusted any more.
        """
        asked = self.clock()
        self.pool.resync([token.id for token in tokens])
        await asyncio.sleep(self._unmet_after / _S)
        silent = [token for token in tokens if token.heard < asked]
        for token in silent:
            if token.trusted():
                self._lose(token, since, detail)
        return len(silent) == len(tokens)

    async def _is_ahead(self, token: Token) -> bool:
        """Return whether REST has a state that the stream does not bring in time."""
        book = await self._rest_book(token.id)
        if book is None or _has(token, book):
            return False
        await asyncio.sleep(self._cross_check.grace)
        return token.trusted() and not _has(token, book)

    async def _rest_book(self, token_id: str) -> BookSnapshot | None:
        try:
            async with asyncio.timeout(self._cross_check.answer):
                body = await self.catalogue.book(token_id)
        except TimeoutError as error:
            raise FeedError(f"no answer within {self._cross_check.answer:g} s") from error
        if body is None:
            self._note_gone(token_id)
        return None if body is None else _wire.decode_book(body)

    def _note_gone(self, token_id: str) -> None:
        """Note that there is no book of a token, so that the outcome of its market is looked up at once."""
        if (token := self.ingest.pipeline.books.tokens.get(token_id)) is not None:
            self.gone[token_id] = token.heard

    async def _fetch(self, connection: FeedConnection, conn: int | None, token_ids: Sequence[str]) -> None:
        for token_id in token_ids:
            try:
                body = await self.catalogue.book(token_id)
            except PmliveError as error:
                logger.warning("the book of token %s could not be had by REST either: %s", token_id, error)
                continue
            if connection.conn != conn or conn is None:
                return
            self._take_book(connection, conn, token_id, body)

    def _take_book(self, connection: FeedConnection, conn: int, token_id: str, body: bytes | None) -> None:
        if body is None:
            self._note_gone(token_id)
            logger.warning("token %s has no order book: its market is closed, or the id is wrong", token_id)
        else:
            try:
                _wire.decode_book(body)
            except ProtocolError as error:
                logger.warning("the book of token %s by REST cannot be read: %s", token_id, error)
                return
            self.ingest.journal.note("book", conn, body, self.clock())
        connection.session.booked(token_id)


def _urls(venue: Venue) -> dict[Channel, str]:
    return {
        "market": f"{venue.clob_ws}/market",
        "user": f"{venue.clob_ws}/user",
        "realtime": venue.live_data,
        "prices": venue.prices_ws,
    }


def _told(key: str, words: str) -> str:
    return f"{key.partition('|')[2]} is refused: {words}"


def _has(token: Token, book: BookSnapshot) -> bool:
    """Return whether the stream already brought the state that a book shows, or a later one."""
    return book.timestamp <= token.timestamp or book.hash == token.stated
