"""Several recordings told as one: connections keep apart, and a run that begins again lets go of its own alone."""

from collections.abc import Iterable, Iterator

import msgspec

from pmlive.errors import ProtocolError
from pmlive.events import Gap
from pmlive.records import (
    FRAMES,
    Closed,
    Kind,
    LinkState,
    Loss,
    Note,
    Opened,
    Record,
    TokenState,
    read_note,
)

__all__ = ["Voice", "Voices"]


class Voices:
    """The recordings of one merged replay, and which of them has each connection."""

    def __init__(self) -> None:
        self._owners: dict[int, Voice] = {}

    def add(self) -> "Voice":
        """Add a recording."""
        return Voice(self)

    def claim(self, conn: int, voice: "Voice") -> int:
        """Give the number that a recording's connection has among all."""
        number = conn if self._owners.get(conn, voice) is voice else max(self._owners) + 1
        self._owners[number] = voice
        return number


class Voice:
    """One recording among several: its records, as they are told to a pipeline that others are told to as well."""

    def __init__(self, voices: Voices) -> None:
        self._voices = voices
        self._numbers: dict[int, int] = {0: 0}
        # The open connections, and the tokens that are asked for on each (0: on none).
        self._tokens: dict[int, set[str]] = {}
        # Those of them that broke, and that no other has taken the place of yet.
        self._broken: set[int] = set()

    def said(self, record: Record) -> Iterator[Record]:
        """Tell a record: the others neither end nor are judged with this recording."""
        if record.kind in FRAMES:
            yield self._moved(record)
            return
        try:
            note = read_note(record)
        except ProtocolError:
            # Whoever applies it tells that it cannot be read.
            yield self._moved(record)
            return
        match note:
            case None:
                if record.kind == Kind.BEGIN:
                    yield from self._let_go(record)
            case Loss():
                if note.beginning:
                    yield from self._let_go(record)
                yield self._retold(record, self._gap(note.gap), kind=Kind.GAP)
            case _:
                self._note(record, note)
                yield self._renumbered(record, note)

    def end(self, seq: int, recv: int) -> Iterator[Record]:
        """End the connections that are open where this recording ends: the others go on, and know nothing of them."""
        data = msgspec.json.encode(Closed("disconnect", "the recording of it ends here"))
        for conn in self._tokens.keys() - self._broken - {0}:
            yield Record(seq, recv, self._number(conn), Kind.CLOSE, data)

    def _number(self, conn: int) -> int:
        if conn not in self._numbers:
            self._numbers[conn] = self._voices.claim(conn, self)
        return self._numbers[conn]

    def _renumbered(self, record: Record, note: Note) -> Record:
        """Give a note in which connections are named too its numbers among all."""
        match note:
            case Opened(replaces=int() as replaces):
                return self._retold(record, msgspec.structs.replace(note, replaces=self._number(replaces)))
            case TokenState():
                numbers = {"conn": self._number(note.conn), "link": self._number(note.link)}
                return self._retold(record, msgspec.structs.replace(note, **numbers))
            case LinkState(gap=Gap() as gap):
                return self._retold(record, msgspec.structs.replace(note, gap=self._gap(gap)))
            case Gap():
                return self._retold(record, self._gap(note))
            case _:
                return self._moved(record)

    def _moved(self, record: Record) -> Record:
        return msgspec.structs.replace(record, conn=self._number(record.conn))

    def _retold(self, record: Record, note: msgspec.Struct, *, kind: str | None = None) -> Record:
        data = msgspec.json.encode(note)
        return msgspec.structs.replace(self._moved(record), kind=kind or record.kind, data=data)

    def _gap(self, gap: Gap) -> Gap:
        return msgspec.structs.replace(gap, conn=self._number(gap.conn))

    def _note(self, record: Record, note: Note) -> None:
        """Keep in mind which tokens are asked for, and where."""
        match note:
            case Opened():
                if note.replaces:
                    self._tokens.pop(note.replaces, None)
                    self._broken.discard(note.replaces)
                self._ask(record.conn, note.keys if note.channel == "market" else ())
            case Closed(cause=None):
                self._tokens.pop(record.conn, None)
            case Closed():
                self._broken.add(record.conn)
            case TokenState():
                self._ask(note.link, (note.token_id,))
            case LinkState():
                self._ask(record.conn, note.tokens)
                if note.gap is not None:
                    self._broken.add(record.conn)
            case list() if record.kind == Kind.UNSUBSCRIBE:
                self._tokens.setdefault(record.conn, set()).difference_update(note)
            case list():
                self._ask(record.conn, note)
            case _:
                pass

    def _ask(self, conn: int, token_ids: Iterable[str]) -> None:
        self._tokens.setdefault(conn, set()).update(token_ids)

    def _let_go(self, record: Record) -> Iterator[Record]:
        """End what an earlier run of this recording left open: the new run tells the whole state."""
        for conn, tokens in self._tokens.items():
            number = self._number(conn)
            if tokens:
                data = msgspec.json.encode(sorted(tokens))
                yield Record(record.seq, record.recv, number, Kind.UNSUBSCRIBE, data)
            if conn:
                yield Record(record.seq, record.recv, number, Kind.CLOSE, msgspec.json.encode(Closed(None)))
        self._tokens.clear()
        self._broken.clear()
