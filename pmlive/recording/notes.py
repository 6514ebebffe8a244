"""What only the raw records tell: when tokens and connections were let go on purpose."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeAlias

import msgspec

from pmlive.errors import ProtocolError, StoreError
from pmlive.recording.contents import Contents
from pmlive.records import Closed, Kind, read_note
from pmlive.store import Record
from pmlive.store.reader import read_raw

__all__ = ["LetGo", "Notes", "let_go"]


class LetGo(msgspec.Struct, frozen=True, gc=False):
    """Tokens that are no longer followed; without ``tokens`` all of a connection."""

    recv: int
    seq: int
    conn: int
    tokens: frozenset[str] | None

    def concerns(self, token_id: str, conn: int) -> bool:
        """Tell whether a token's book of a connection ends here."""
        return self.conn == conn if self.tokens is None else token_id in self.tokens


_Found: TypeAlias = list[LetGo]


class Notes:
    """Reads each sealed file of raw records once at most, and only when it is needed."""

    def __init__(self) -> None:
        self._known: dict[str, _Found | None] = {}

    def between(self, contents: Contents, since: int, until: int) -> _Found | None:
        """List what was let go between two times, or None where the raw records are not there any more."""
        found: _Found = []
        files = contents.files("raw", since=since, until=until)
        for file in files:
            if file.path not in self._known:
                try:
                    self._known[file.path] = list(let_go(read_raw(contents.folder, file)))
                except StoreError:
                    self._known[file.path] = None
            known = self._known[file.path]
            if known is None:
                return None
            found += known
        unsealed = contents.records()
        if not files and not (unsealed and unsealed[-1].recv >= since):
            return None
        found += let_go(unsealed)
        return [each for each in found if since <= each.recv <= until]


def let_go(records: Iterable[Record]) -> Iterator[LetGo]:
    """List what was let go on purpose; notes that cannot be read are gaps, which the tables tell."""
    for record in records:
        if record.kind not in (Kind.UNSUBSCRIBE, Kind.CLOSE):
            continue
        with suppress(ProtocolError):
            match read_note(record):
                case list() as tokens:
                    yield LetGo(record.recv, record.seq, record.conn, frozenset(tokens))
                case Closed(cause=None):
                    yield LetGo(record.recv, record.seq, record.conn, None)
                case _:
                    pass
