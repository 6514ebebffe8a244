"""Which books can be trusted: the gaps that are open, and the snapshots that would end them."""

from pmlive.events import Cause, Gap
from pmlive.pipeline.sheets import Sheets
from pmlive.pipeline.token import Token

__all__ = ["Trust"]

# A new connection begins with opening books, and asks again for those that stay away.
_ASKED_FOR_ANYWAY: frozenset[Cause] = frozenset(("disconnect", "restart", "late opening book"))
# A new snapshot of a token is asked for at most so often.
_ASK_EVERY = 60_000_000_000


class Trust:
    """Opens and ends the gaps of tokens, and writes them down when they end."""

    def __init__(self, sheets: Sheets) -> None:
        self._sheets = sheets
        # Tokens whose book must be asked for anew, and from when on.
        self.wanted: dict[str, int] = {}

    def lose(self, token: Token, cause: Cause, started: int, now: int, detail: str) -> None:
        """Open a gap, unless one is open, and ask for a new snapshot unless its connection does that by itself.

        Of a token whose market was resolved nothing can be missed.
        """
        if token.over:
            return
        if token.gap is None:
            conn = token.conn or token.link
            token.gap = Gap(started=started or now, cause=cause, token_id=token.id, detail=detail, conn=conn)
        if cause not in _ASKED_FOR_ANYWAY:
            self.wanted.setdefault(token.id, max(now, token.asked + _ASK_EVERY if token.asked else now))

    def regain(self, token: Token, now: int) -> None:
        """End the gap of a token, with a snapshot or because nobody wants it any more."""
        self.wanted.pop(token.id, None)
        if token.gap is not None:
            self.write(token.gap, now, ended=now)
            token.gap = None

    def write(self, gap: Gap, now: int, *, ended: int | None) -> None:
        """Write a gap into its table."""
        values = (gap.token_id, gap.started, ended, gap.cause, gap.detail)
        self._sheets.put("gaps", None, now, gap.conn, values)
