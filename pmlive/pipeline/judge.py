"""Whether the books are the venue's: the three checks, each on the last state of a millisecond that is past."""

from collections.abc import Callable
from typing import TypeAlias

from pmlive.events import BookSnapshot, Check, LevelChange
from pmlive.pipeline.sheets import Sheets
from pmlive.pipeline.token import Token
from pmlive.pipeline.trust import Trust

__all__ = ["Judge", "Proven"]

# Told of a token whose book was not trusted and is the venue's after all, and when that was found out.
Proven: TypeAlias = Callable[[Token, int], None]

# A hash that nothing explains is a mismatch if the next state fails as well, or if none comes within this time.
_DOUBT = 1_000_000_000


class Judge:
    """Checks states when their time is past, and says in their rows what came of it."""

    def __init__(self, sheets: Sheets, trust: Trust, *, proven: Proven, hashes: bool) -> None:
        self._deltas = sheets.book_deltas
        self._checks = self._deltas.words["check"]
        self._trust = trust
        self._proven = proven
        self._hashes = hashes
        # Tokens with a state to be judged: of this stretch of the grid, and of the one before.
        self.fresh: list[Token] = []
        self._ripe: list[Token] = []
        self._doubted: list[Token] = []

    @property
    def idle(self) -> bool:
        """Tell whether no state waits."""
        return not (self.fresh or self._ripe or self._doubted)

    @property
    def unsettled(self) -> int | None:
        """Give the number of the first row whose check may still change."""
        rows = [token.row for token in self._ripe + self.fresh if token.row is not None]
        rows += [token.doubt[0] for token in self._doubted if token.doubt is not None]
        return min((row for row in rows if row >= 0), default=None)

    def boundary(self, at: int, since: int) -> None:
        """Judge what is older than the last stretch of the grid, which began at ``since``."""
        ripe, self._ripe, self.fresh = self._ripe, self.fresh, []
        for token in ripe:
            if token.row is not None and token.reached >= since:
                self._ripe.append(token)
                continue
            token.pending = False
            if token.row is not None:
                self.judge(token, at)
        doubted, self._doubted = self._doubted, []
        for token in doubted:
            if token.doubt is not None and at - token.doubt[1] >= _DOUBT:
                self._convict(token, at)
            elif token.doubt is not None:
                self._doubted.append(token)

    def wait(self, token: Token, change: LevelChange, row: int) -> None:
        """Judge the state that a change left when its time is past: what is yet to come may explain what is odd."""
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
        """Judge a token now, leaving no row open.

        Its last millisecond may go on, so a hash that does not fit there is set aside as unverifiable. One that did not
        fit before is not explained any more: the book is wrong, unless a whole one just told that it ``is_right``.
        """
        was_doubted = token.doubt is not None
        if token.row is not None and token.gap is None:
            self.judge(token, token.heard)
        token.row = None
        if was_doubted and token.doubt is not None and token.gap is None and not is_right:
            self._convict(token, token.heard)
        self._acquit(token)

    def settle_all(self) -> None:
        """Settle every token."""
        for token in self._ripe + self.fresh + self._doubted:
            token.pending = False
            self.settle(token)
        self._ripe, self.fresh, self._doubted = [], [], []

    def judge(self, token: Token, at: int) -> None:
        """Check the state that a token was left in; it has one that waits."""
        row, token.row = token.row, None
        if row is None:
            return
        if token.gap is not None:
            self._prove_again(token, at)
            return
        if token.odd_top is not None:
            if _differs(token, *token.odd_top):
                self._contradict(token, row)
                return
            token.odd_top = None
            token.counts.bbo_ok += 1
        if self._hashes:
            self._judge_hash(token, row)

    def snapshot(self, token: Token, event: BookSnapshot) -> None:
        """Check a book that the venue sent whole: a wrong hash there casts doubt on hashes, not on the book."""
        if not self._hashes:
            return
        check = token.proof.check(token.book, token.market, token.id, event.timestamp, event.hash)
        _count(token, check)
        if check == "mismatch":
            token.proof.reset()

    def compare(self, token: Token, differences: int, recv: int) -> None:
        """Judge the rebuilt book by how many levels of a fresh one it did not have."""
        if not differences:
            token.counts.snapshot_ok += 1
            return
        token.counts.snapshot_mismatch += 1
        self._trust.lose(token, "mismatch", token.proved, recv, f"{differences} levels differ from a fresh book")

    def _contradict(self, token: Token, row: int) -> None:
        token.odd_top = None
        token.counts.bbo_mismatch += 1
        self._mark(row, "mismatch")
        detail = f"the venue's best prices are not the book's {token.book.best_bid} and {token.book.best_ask}"
        self._trust.lose(token, "mismatch", token.proved, token.heard, detail)

    def _judge_hash(self, token: Token, row: int) -> None:
        check = token.proof.check(token.book, token.market, token.id, token.timestamp, token.stated)
        if check == "mismatch":
            self._suspect(token, row)
            return
        self._mark(row, check)
        _count(token, check)
        if check == "verified":
            token.proved = token.reached
            self._acquit(token)

    def _prove_again(self, token: Token, at: int) -> None:
        """A book that changes were put on all the while is right again when the venue's hash says so.

        One that was found to be wrong is not: what it lacks may be put right by chance, and a whole book was asked for.
        """
        is_wrong = token.gap is not None and token.gap.cause == "mismatch"
        known = self._hashes and token.proof.established and token.conn and not is_wrong
        if known and token.proof.fits(token.book, token.market, token.id, token.timestamp, token.stated):
            token.counts.hash_verified += 1
            token.proved = token.reached
            self._acquit(token)
            self._proven(token, at)

    def _suspect(self, token: Token, row: int) -> None:
        if token.doubt is None:
            token.doubt = (row, token.reached)
            self._doubted.append(token)
            return
        self._mark(row, "mismatch")
        token.counts.hash_mismatch += 1
        self._convict(token, token.heard)

    def _acquit(self, token: Token) -> None:
        """The next state was proven, so the doubtful hash was one change late or unknown, not the book wrong."""
        if token.doubt is not None:
            self._mark(token.doubt[0], "unverifiable")
            token.counts.hash_unverifiable += 1
            token.doubt = None

    def _convict(self, token: Token, at: int) -> None:
        if token.doubt is not None:
            self._mark(token.doubt[0], "mismatch")
            token.counts.hash_mismatch += 1
            token.doubt = None
        self._trust.lose(token, "mismatch", token.proved, at, "the book's hash is not the venue's")

    def _mark(self, row: int, check: Check) -> None:
        if row >= 0:
            self._deltas.amend(row, "check", self._checks[check])


def _differs(token: Token, bid: float | None, ask: float | None) -> bool:
    """Tell whether stated best prices contradict the book; a side that is not stated does not."""
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
