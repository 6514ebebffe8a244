"""Those who hear of everything: all updates, and gaps when they begin and when they end."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import cast

import polars as pl

from pmlive.events import Gap
from pmlive.manager.mailbox import Consumer, Mailbox, Update
from pmlive.times import moment

__all__ = ["News"]


class News:
    """The listeners of a manager; all but ``add`` and ``remove`` run in its thread."""

    def __init__(self) -> None:
        # Replaced and never changed, so that one thread can read it while another adds.
        self._consumers: tuple[Consumer, ...] = ()
        self._open: set[Gap] = set()

    def add(self, consumer: Consumer) -> None:
        """Let one more hear."""
        self._consumers = (*self._consumers, consumer)

    def remove(self, consumer: Consumer) -> None:
        """Let one hear no more; again does nothing."""
        self._consumers = tuple(one for one in self._consumers if one is not consumer)
        consumer.mailbox.close()

    def listened(self) -> bool:
        """Tell whether anybody hears."""
        return bool(self._consumers)

    def mailboxes(self) -> list[Mailbox]:
        """List where updates go."""
        return [consumer.mailbox for consumer in self._consumers]

    def gaps(self, still_open: Iterable[Gap], written: pl.DataFrame | None, labels: Mapping[str, str]) -> None:
        """Tell of gaps that began since the last call, and of those that ended."""
        now_open = set(still_open)
        for gap in sorted(now_open - self._open, key=lambda gap: gap.started):
            self._tell(_began(gap), labels)
        self._open = now_open
        if written is not None:
            for row in written.filter(pl.col("ended").is_not_null()).iter_rows(named=True):
                self._tell(_ended(row), labels)

    def close(self) -> None:
        """Let nobody hear any more."""
        for consumer in self._consumers:
            self.remove(consumer)

    def _tell(self, told: Update, labels: Mapping[str, str]) -> None:
        update = {"type": "gap", **told, "untrusted_label": labels.get(str(told["token_id"]), "")}
        for mailbox in self.mailboxes():
            mailbox.put(update)


def _began(gap: Gap) -> Update:
    return {
        "table": "gaps",
        "state": "began",
        "token_id": gap.token_id,
        "started": moment(gap.started).isoformat(),
        "ended": None,
        "cause": gap.cause,
        "detail": gap.detail,
        "conn": gap.conn,
    }


def _ended(row: Mapping[str, object]) -> Update:
    times = {name: cast("datetime", row[name]).isoformat() for name in ("started", "ended")}
    rest = {name: row[name] for name in ("token_id", "cause", "detail", "conn")}
    return {"table": "gaps", "state": "ended", **rest, **times}
