"""What only the raw records tell: when tokens and connections were let go on purpose."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

from pmlive.errors import StoreError
from pmlive.pipeline.journal import Closed
from pmlive.recording.contents import Contents
from pmlive.store import Record
from pmlive.store.tail import read_raw

__all__ = ["LetGo", "Notes"]


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
                    self._known[file.path] = list(_let_go(read_raw(contents.folder, file)))
                except StoreError:
                    self._known[file.path] = None
            known = self._known[file.path]
            if known is None:
                return None
            found += known
        unsealed = contents.records()
        if not files and not (unsealed and unsealed[-1].recv >= since):
            return None
        found += _let_go(unsealed)
        return [each for each in found if since <= each.recv <= until]


def _let_go(records: Iterable[Record]) -> Iterator[LetGo]:
    for record in records:
        if record.kind == "unsubscribe":
            tokens = msgspec.json.decode(record.data, type=list[str])
            yield LetGo(record.recv, record.seq, record.conn, frozenset(tokens))
        elif record.kind == "close" and msgspec.json.decode(record.data, type=Closed).cause is None:
            yield LetGo(record.recv, record.seq, record.conn, None)
