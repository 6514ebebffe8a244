"""Checks of books against the venue's hashes and best prices after each millisecond, and the gaps that they open."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeAlias

from pmlive.events import BookSnapshot, Cause, Check, Gap, LevelChange
from pmlive.pipeline.rows import RowBuffers
from pmlive.pipeline.token import PLACE, Token

__all__ = [
    "BookChecks",
    "TokenGaps",
    "UnknownKinds",
    "shortened",
]

# A new connection begins with opening books, and asks again for those that stay away.
_ASKED_FOR_ANYWAY: frozenset[Cause] = frozenset(("disconnect", "restart", "late opening book"))
# A new snapshot of a token is asked for at most so often.
_ASK_EVERY = 60_000_000_000
# Told of a token whose book was not trusted and is the venue's after all, and when that was found out.
Proven: TypeAlias = Callable[[Token, int], None]
# A hash that nothing explains is a mismatch if the next state fails as well, or if none comes within this time.
_UNEXPLAINED_AFTER = 1_000_000_000


class TokenGaps:
    """Opens and ends the gaps of tokens, and writes them down when they end."""

    def __init__(self, buffers: RowBuffers) -> None:
        self._buffers = buffers
        # Tokens whose book must be asked for anew, and from when on.
        self.wanted: dict[str, int] = {}
        # Tokens with a gap that has not ended.
        self._interrupted: dict[str, Token] = {}

    @property
    def open(self) -> list[Gap]:
        """The gaps of tokens that have not ended, in the order in which the tokens came."""
        tokens = sorted(self._interrupted.values(), key=PLACE)
        return [gap for token in tokens for gap in token.gaps]

    def lose(self, token: Token, cause: Cause, started: int, now: int, detail: str) -> None:
        """Open a gap, unless one is open, and ask for a new snapshot unless its connection does that by itself.

        Of a token whose market was resolved nothing can be missed.
        """
        if token.over:
            return
        if token.gap is None:
            conn = token.conn or token.link
            token.gap = Gap(started=started or now, cause=cause, token_id=token.id, detail=detail, conn=conn)
            self.note(token)
        if cause not in _ASKED_FOR_ANYWAY:
            self.wanted.setdefault(token.id, max(now, token.asked + _ASK_EVERY if token.asked else now))

    def regain(self, token: Token, now: int) -> None:
        """End the gaps of a token, with a snapshot or because nobody wants it any more."""
        self.wanted.pop(token.id, None)
        for gap in token.gaps:
            self.write(gap, now, ended=now)
        token.lapse = token.gap = None
        self._interrupted.pop(token.id, None)

    def follow(self, token: Token, lapse: Gap) -> None:
        """Keep the gap of a token from before this run, which its first book ends."""
        token.lapse = lapse
        self.note(token)

    def note(self, token: Token) -> None:
        """Note the gaps that a token has."""
        if token.gaps:
            self._interrupted[token.id] = token

    def forget(self, token: Token) -> None:
        """Forget a token."""
        self.wanted.pop(token.id, None)
        self._interrupted.pop(token.id, None)

    def clear(self) -> None:
        """Forget every token."""
        self.wanted, self._interrupted = {}, {}

    def write(self, gap: Gap, now: int, *, ended: int | None) -> None:
        """Write a gap into its table."""
        values = (gap.token_id, gap.started, ended, gap.cause, gap.detail)
        self._buffers.put("gaps", None, now, gap.conn, values)


class BookChecks:
    """Checks states when their time is past, and writes the outcome into their rows."""

    def __init__(self, buffers: RowBuffers, trust: TokenGaps, *, proven: Proven, hashes: bool) -> None:
        self._deltas = buffers.book_deltas
        self._checks = self._deltas.words["check"]
        self._gaps = trust
        self._proven = proven
        self._hashes = hashes
        # Tokens with a state to be checked: of this stretch of the grid, and of the one before.
        self.fresh: list[Token] = []
        self._ripe: list[Token] = []
        self._misfits: list[Token] = []

    @property
    def idle(self) -> bool:
        """Whether no state waits."""
        return not (self.fresh or self._ripe or self._misfits)

    @property
    def waiting(self) -> list[Token]:
        """The tokens with a state that waits."""
        return self._ripe + self.fresh + self._misfits

    @property
    def unsettled(self) -> int | None:
        """The number of the first row whose check may still change."""
        rows = [token.row for token in self._ripe + self.fresh if token.row is not None]
        rows += [token.misfit[0] for token in self._misfits if token.misfit is not None]
        return min((row for row in rows if row >= 0), default=None)

    def boundary(self, at: int, since: int) -> None:
        """Check what is older than the last stretch of the grid, which began at ``since``."""
        ripe, self._ripe, self.fresh = self._ripe, self.fresh, []
        for token in ripe:
            if token.row is not None and token.reached >= since:
                self._ripe.append(token)
                continue
            token.pending = False
            if token.row is not None:
                self.check(token, at)
        misfits, self._misfits = self._misfits, []
        for token in misfits:
            if token.misfit is not None and at - token.misfit[1] >= _UNEXPLAINED_AFTER:
                self._call_wrong(token, at)
            elif token.misfit is not None:
                self._misfits.append(token)

    def wait(self, token: Token, change: LevelChange, row: int) -> None:
        """Check the state that a change left when its time is past: what is yet to come may explain what is odd."""
        token.stated, token.reached, token.row, token.odd_top = change.hash, token.heard, row, None
        if token.gap is not None:
            token.row = -1
        elif _differs(token, change.best_bid, change.best_ask):
            token.odd_top = (change.best_bid, change.best_ask)
        else:
            token.counts.bbo_ok += 1
        if not token.pending:
            token.pending = True
            self.fresh.append(token)

    def settle(self, token: Token, *, is_right: bool = False) -> None:
        """Check a token now, leaving no row open.

        Its last millisecond may go on, so a hash that does not fit there is set aside as unverifiable. One that did not
        fit before is not explained any more: the book is wrong, unless a whole one just told that it ``is_right``.
        """
        had_misfit = token.misfit is not None
        if token.row is not None and token.gap is None:
            self.check(token, token.heard)
        token.row = None
        if had_misfit and token.misfit is not None and token.gap is None and not is_right:
            self._call_wrong(token, token.heard)
        token.proof.undecided |= token.misfit is not None
        self._call_unverifiable(token)

    def settle_all(self) -> None:
        """Settle every token."""
        for token in self.waiting:
            token.pending = False
            self.settle(token)
        self._ripe, self.fresh, self._misfits = [], [], []

    def check(self, token: Token, at: int) -> None:
        """Check the state that a token was left in; it has one that waits."""
        row, token.row = token.row, None
        if row is None:
            return
        if token.gap is not None:
            self._prove_again(token, at)
            return
        if token.odd_top is not None:
            if _differs(token, *token.odd_top):
                self._note_wrong_top(token, row)
                return
            token.odd_top = None
            token.counts.bbo_ok += 1
        if self._hashes:
            self._check_hash(token, row)

    def snapshot(self, token: Token, event: BookSnapshot) -> None:
        """Check a book that the venue sent whole: a wrong hash there casts doubt on hashes, not on the book."""
        if not self._hashes:
            return
        _count(token, token.proof.check_whole(token.book, token.market, token.id, event.timestamp, event.hash))

    def compare(self, token: Token, differences: int, recv: int) -> None:
        """Check the rebuilt book by how many levels of a fresh one it did not have."""
        if not differences:
            token.counts.snapshot_ok += 1
            return
        token.counts.snapshot_mismatch += 1
        self._gaps.lose(token, "mismatch", token.proved, recv, f"{differences} levels differ from a fresh book")

    def _note_wrong_top(self, token: Token, row: int) -> None:
        token.odd_top = None
        token.counts.bbo_mismatch += 1
        self._mark(row, "mismatch")
        detail = f"the venue's best prices are not the book's {token.book.best_bid} and {token.book.best_ask}"
        self._gaps.lose(token, "mismatch", token.proved, token.heard, detail)

    def _check_hash(self, token: Token, row: int) -> None:
        check = token.proof.check(token.book, token.market, token.id, token.timestamp, token.stated)
        if check == "mismatch":
            self._note_misfit(token, row)
            return
        self._mark(row, check)
        if check == "unverifiable":
            token.counts.hash_unverifiable += 1
            return
        token.counts.hash_verified += 1
        token.proved_ns, token.proved_ms = token.reached, token.timestamp
        if token.misfit is not None:
            self._call_unverifiable(token)

    def _prove_again(self, token: Token, at: int) -> None:
        """A book that changes were put on all the while is right again when the venue's hash says so.

        One that was found to be wrong is not: what it lacks may be put right by chance, and a whole book was asked for.
        """
        is_wrong = token.gap is not None and token.gap.cause == "mismatch"
        known = self._hashes and token.proof.established and token.conn and not is_wrong
        if known and token.proof.fits(token.book, token.market, token.id, token.timestamp, token.stated):
            token.counts.hash_verified += 1
            token.proof.undecided = False
            token.proved_ns, token.proved_ms = token.reached, token.timestamp
            self._call_unverifiable(token)
            self._proven(token, at)

    def _note_misfit(self, token: Token, row: int) -> None:
        if token.misfit is None:
            token.misfit = (row, token.reached)
            self._misfits.append(token)
            return
        self._mark(row, "mismatch")
        token.counts.hash_mismatch += 1
        self._call_wrong(token, token.heard)

    def _call_unverifiable(self, token: Token) -> None:
        """The next state was proven, so the doubtful hash was one change late or unknown, not the book wrong."""
        if token.misfit is not None:
            self._mark(token.misfit[0], "unverifiable")
            token.counts.hash_unverifiable += 1
            token.misfit = None

    def _call_wrong(self, token: Token, at: int) -> None:
        if token.misfit is not None:
            self._mark(token.misfit[0], "mismatch")
            token.counts.hash_mismatch += 1
            token.misfit = None
        self._gaps.lose(token, "mismatch", token.proved, at, "the book's hash is not the venue's")

    def _mark(self, row: int, check: Check) -> None:
        if row >= 0:
            self._deltas.amend(row, "check", self._checks[check])


def _differs(token: Token, bid: float | None, ask: float | None) -> bool:
    """Return whether stated best prices contradict the book; a side that is not stated does not."""
    if bid == 0 and ask == 0:
        return False
    bids, asks = token.book.bids.keys, token.book.asks.keys
    bid_differs = bid is not None and bid != (-bids[0] if bids else 0.0)
    ask_differs = ask is not None and ask != (asks[0] if asks else 1.0)
    return bid_differs or ask_differs


def _count(token: Token, check: Check) -> None:
    if check == "verified":
        token.counts.hash_verified += 1
    elif check == "unverifiable":
        token.counts.hash_unverifiable += 1
    elif check == "mismatch":
        token.counts.hash_mismatch += 1


# --- unknown kinds ---
# Messages of unknown kinds: their number by kind, and the kinds of each connection that have a row of ``gaps``.
#
# The sender chooses the names of kinds, so both are bounded: further kinds are counted together, and one row of
# ``gaps`` says that there are more.

# The name under which further kinds are counted.
_OTHER_KINDS = "(other kinds)"
_MOST = 100
_LONGEST = 60


def shortened(kind: str) -> str:
    """Return a kind as it is counted and shown; its name may be as long as a message."""
    return kind[:_LONGEST]


class UnknownKinds:
    """The unknown kinds of messages: how many came of each, and which of a connection are in ``gaps``."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._reported: defaultdict[int, set[str]] = defaultdict(set)

    def count(self, kind: str) -> None:
        """Count a message."""
        if kind not in self.counts and len(self.counts) >= _MOST:
            kind = _OTHER_KINDS
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def new_detail(self, conn: int, kind: str, reason: str) -> str | None:
        """Return the detail of the row that a kind gets in ``gaps``: its ``reason``, or that more kinds follow.

        A kind that the connection brought before has its row, and one beyond the bound gets none: None.
        """
        reported = self._reported[conn]
        if kind in reported or len(reported) > _MOST:
            return None
        reported.add(kind)
        if len(reported) <= _MOST:
            return reason
        return f"messages of more than {_MOST} unknown kinds came; further kinds get no row"

    def save(self, conn: int) -> list[str]:
        """Return the kinds of a connection that have their rows, for a reader that begins here."""
        return sorted(self._reported.get(conn, ()))

    def load(self, conn: int, kinds: Iterable[str]) -> None:
        """Go on from kinds that were saved."""
        self._reported[conn].update(kinds)

    def drop(self, conn: int) -> None:
        """Forget a connection."""
        self._reported.pop(conn, None)

    def clear(self) -> None:
        """Forget every connection."""
        self._reported.clear()
