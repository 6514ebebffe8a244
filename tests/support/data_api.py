"""A data API on loopback that lists the trades it is given, in pages, and answers as a test says."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgspec
from support.http import Answer, Request, Server, serving

from pmlive.markets import Market
from pmlive.settings import Venue

__all__ = ["CONDITION", "MARKET", "NO", "YES", "Api", "Row", "at", "page_of", "trade", "trading"]

CONDITION = "0x" + "ab" * 32
YES, NO = "7" * 70, "8" * 70
MARKET = Market(condition_id=CONDITION, slug="will-it-rain", outcomes=["Yes", "No"], token_ids=[YES, NO])

Row: TypeAlias = dict[str, Any]


def trade(at: float, number: int = 0, *, token: str = YES, **other: object) -> Row:
    """Write a row of ``/v2/trades`` as its documentation has it; ``at`` is in seconds."""
    row = {
        "proxy_wallet": "0x" + "c0" * 20,
        "side": "BUY",
        "token_id": token,
        "condition_id": CONDITION,
        "size": 5.0,
        "price": 0.4,
        "timestamp": at,
        "title": "Will it rain?",
        "slug": "will-it-rain",
        "icon": "",
        "event_slug": "will-it-rain",
        "outcome": "Yes",
        "outcome_index": 0,
        "name": "",
        "pseudonym": "",
        "bio": "",
        "profile_image": "",
        "profile_image_optimized": "",
        "transaction_hash": f"0x{number:064x}",
    }
    return row | other


def page_of(rows: Sequence[Row], following: str | None = None) -> Answer:
    """Write a page and the cursor of the next one."""
    pagination = {"limit": len(rows), "offset": 0, "has_more": following is not None, "next_cursor": following}
    return Answer(msgspec.json.encode({"data": rows, "pagination": pagination}))


class Api:
    """Trades, the oldest first, in pages of a few; ``before`` may answer a request in its place."""

    def __init__(self, rows: Sequence[Row], *, page: int = 3) -> None:
        self.rows = list(rows)
        self.page = page
        self.signature = "v"
        self.before: Callable[[Request], Answer | None] = lambda _: None

    def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        answer = self.before(request)
        if answer is not None:
            return answer
        cursor = request.query.get("cursor", [f"{self.signature}{len(self.rows)}"])[0]
        if not cursor.startswith(self.signature):
            return Answer('{"error":"invalid cursor","code":"invalid_request"}', 400)
        end = int(cursor.removeprefix(self.signature))
        start = max(0, end - self.page)
        return page_of(self.rows[start:end][::-1], f"{self.signature}{start}" if start else None)


@contextmanager
def trading(rows: Sequence[Row], *, page: int = 3) -> Generator[tuple[Server, Api]]:
    """Serve trades."""
    api = Api(rows, page=page)
    with serving(api) as server:
        yield server, api


def at(server: Server) -> Venue:
    """Return the addresses of a server that is everything."""
    return Venue(clob=server.url, gamma=server.url, data=server.url)
