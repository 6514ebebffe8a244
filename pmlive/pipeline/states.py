"""Writing of the whole state, from which a reader can begin: at once, or in parts while the feed goes on.

In parts, nothing is copied and the feed never stands still: the state of a token is written when its turn comes, or
before the first record that changes it or looks at it. What a record changes is known by the tokens that it names, and
where it says something of a whole connection, by ``Books.carried``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec

from pmlive.errors import ProtocolError
from pmlive.events import BookSnapshot, Event, Gap, MarketResolved, PriceChange, TickSizeChange, Trade
from pmlive.pipeline.core import Link, Pipeline
from pmlive.pipeline.repeats import RecentChanges
from pmlive.pipeline.token import Token
from pmlive.pipeline.turns import Turns
from pmlive.records import Closed, Kind, LinkState, Note, Opened, Parts, Record, Taken, read_note

__all__ = ["StateWriter"]


class StateWriter:
    """Writes the state of a pipeline.

    ``keep`` takes states that come in parts, and returns False if they are lost. ``guard`` runs what writes states
    while a record is taken, which does not fail with it.
    """

    def __init__(
        self, pipeline: Pipeline, keep: Callable[[Sequence[Record]], bool], guard: Callable[[Callable[[], None]], None]
    ) -> None:
        self._pipeline = pipeline
        self._keep = keep
        self._guard = guard
        # What is not written of the state of a time: a flag for each place, since garbage collection visits no flags.
        self._is_left = bytearray()
        self._left = 0
        self._turns = Turns()
        self._links: dict[int, Link] = {}
        # The time of that state, in nanoseconds.
        self.at = 0
        # The number and time of what is about to be written down.
        self.stamp = (0, 0)

    def whole(self, now: int) -> list[Record]:
        """Return the whole present state."""
        pipeline, books = self._pipeline, self._pipeline.books
        marks = pipeline.repeats.save()
        taken = [Record(pipeline.seq, now, 0, Kind.TAKEN, msgspec.json.encode(Taken(marks)))] if marks else []
        links = [
            Record(pipeline.seq, now, conn, Kind.LINK, msgspec.json.encode(self._link_state(conn, link)))
            for conn, link in pipeline.links.items()
        ]
        return [*taken, *links] + [
            # The row of a state takes the number that its record has.
            Record(pipeline.seq, now, token.conn, Kind.STATE, msgspec.json.encode(books.save(token, now)))
            for token in books.tokens.values()
        ]

    def begin(self, now: int) -> list[Record]:
        """Begin to write the present state in parts; return what comes before them."""
        pipeline, books = self._pipeline, self._pipeline.books
        told = Parts(
            at=now,
            tokens=len(books.tokens),
            links=len(pipeline.links),
            places=books.places,
            beside=books.save_beside(),
        )
        taken = Record(pipeline.seq, now, 0, Kind.TAKEN, msgspec.json.encode(Taken(pipeline.repeats.save())))
        # Its number is the last of those that are set aside, so that whoever goes on after it knows that they are used.
        pipeline.seq += told.places
        first = [taken, Record(pipeline.seq, now, 0, Kind.PARTS, msgspec.json.encode(told))]
        pipeline.state_parts(told)
        self._is_left, self._left = bytearray(b"\1") * (books.places + 1), len(books.tokens)
        self._turns.begin(books.tokens)
        self._links, self.at = dict(pipeline.links), now
        books.before_reading = self._before_reading
        return first

    @property
    def pending(self) -> bool:
        """Whether something is left to be written."""
        return bool(self._left or self._links)

    def write(self, count: int, seq: int, now: int) -> None:
        """Write the states of so many more tokens, but those that are written already, at a number and a time."""
        self.stamp = seq, now
        self._write_tokens(self._turns.take(self._pipeline.books.tokens, count))
        if not self._left:
            self._write_links(list(self._links))

    def write_rest(self, seq: int, now: int) -> None:
        """Write all that is left, at a number and a time."""
        self.stamp = seq, now
        self._write_tokens(self._pipeline.books.tokens)
        self._write_links(list(self._links))

    def give_up(self) -> None:
        """Write no more of it."""
        self._left, self._links = 0, {}
        self._pipeline.books.before_reading = None
        self._pipeline.parts.give_up()

    # --- what a record is about to change ---

    def before_frame(self, record: Record, events: Sequence[Event]) -> None:
        """Write the states that a frame changes."""
        self.stamp = record.seq, record.recv
        self._write_links((record.conn,))
        for event in events:
            match event:
                case PriceChange():
                    self._write_tokens([change.token_id for change in event.changes])
                case BookSnapshot() | Trade() | TickSizeChange():
                    self._write_tokens((event.token_id,))
                case MarketResolved():
                    self._write_resolved(event)
                case _:
                    pass

    def before_note(self, record: Record) -> None:
        """Write the states that a note changes."""
        self.stamp = record.seq, record.recv
        self._write_links((record.conn,))
        match _note_of(record):
            case list() as token_ids:
                self._write_tokens(token_ids)
            case Opened() as note:
                self._write_links(() if note.replaces is None else (note.replaces,))
                self._write_tokens(note.keys)
            case Closed() if record.conn in self._pipeline.links:
                self._write_carried(self._pipeline.links[record.conn])
            case Gap(token_id=token_id):
                self._write_tokens(() if token_id is None else (token_id,))
            case BookSnapshot() as book:
                self._write_tokens((book.token_id,))
            case MarketResolved() as resolution:
                self._write_resolved(resolution)
            case _:
                self.write_rest(record.seq, record.recv)

    def _write_resolved(self, resolution: MarketResolved) -> None:
        """Write what a resolution changes: interrupted connections may have carried nothing else."""
        self._write_tokens(resolution.token_ids)
        links = sorted(self._pipeline.links.items())
        interrupted = [(conn, link) for conn, link in links if link.gap is not None]
        self._write_links([conn for conn, _ in interrupted])
        for _, link in interrupted:
            self._write_carried(link)

    def _write_carried(self, link: Link) -> None:
        self._write_tokens(sorted(link.tokens))

    def _before_reading(self, tokens: Sequence[Token]) -> None:
        self._guard(lambda: self._write_tokens([token.id for token in tokens]))

    def _write_tokens(self, token_ids: Iterable[str]) -> None:
        """Write the states of tokens that are not written yet, after those of their connections."""
        if not self._left:
            return
        known, is_left = self._pipeline.books.tokens, self._is_left
        tokens: list[Token] = []
        for token_id in token_ids:
            token = known.get(token_id)
            if token is not None and token.place < len(is_left) and is_left[token.place]:
                is_left[token.place] = 0
                tokens.append(token)
        self._left -= len(tokens)
        self._write_links([conn for token in tokens for conn in (token.conn, token.link)])
        self._write({token.id: self._state(token) for token in tokens})

    def _write_links(self, conns: Iterable[int]) -> None:
        links = {conn: self._links.pop(conn) for conn in conns if conn in self._links}
        self._write({conn: self._link(conn, link) for conn, link in links.items()})

    def _write(self, states: Mapping[str | int, Record]) -> None:
        """Keep states by their token or connection."""
        if states and not self._keep(list(states.values())):
            self.give_up()
            return
        for key in states:
            self._pipeline.parts.note(key, self.at)
        if not self.pending:
            self._pipeline.books.before_reading = None

    # --- the records ---

    def _state(self, token: Token) -> Record:
        row = self._pipeline.parts.row(token.place)
        state = self._pipeline.books.save(token, self.at, row=row)
        return Record(*self.stamp, token.conn, Kind.STATE, msgspec.json.encode(state))

    def _link(self, conn: int, link: Link) -> Record:
        state = msgspec.structs.replace(self._link_state(conn, link), at=self.at)
        return Record(*self.stamp, conn, Kind.LINK, msgspec.json.encode(state))

    def _link_state(self, conn: int, link: Link) -> LinkState:
        pipeline = self._pipeline
        heard, past = pipeline.heard.get(conn, link.opened), pipeline.books.recent.get(conn, RecentChanges())
        return LinkState(
            channel=link.channel,
            tokens=sorted(link.tokens),
            opened=link.opened,
            heard=heard,
            gap=link.gap,
            past=past.save(),
            frame=pipeline.last_frame(conn),
            strange=pipeline.unknown_kinds.save(conn),
            numbers=pipeline.sequences.save(conn),
        )


def _note_of(record: Record) -> Note:
    """Return the note of a record; None where it cannot be read and may be about everything."""
    with suppress(ProtocolError):
        return read_note(record)
    return None
