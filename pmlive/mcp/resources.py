"""What can be read by address: the status, a subscription, a book, a recording."""

import re
from collections.abc import Callable

from msgspec import Struct

from pmlive.manager import Manager
from pmlive.mcp.answers import RefusalError
from pmlive.mcp.asks import GetBook, GetQuality
from pmlive.mcp.described import ResourceDescribed, TemplateDescribed
from pmlive.mcp.history import History
from pmlive.mcp.privacy import is_private, public_status
from pmlive.mcp.texts import Row, plain, utc_now

__all__ = ["RESOURCES", "STATUS", "TEMPLATES", "reader"]

_JSON = "application/json"
STATUS = "polymarket://websocket-status"

RESOURCES = [
    ResourceDescribed(
        uri=STATUS,
        name="websocket-status",
        title="Status of the live feed",
        description="Connections, subscriptions, statistics, books and the recording, as the manager tells them.",
        mime_type=_JSON,
    )
]
TEMPLATES = [
    TemplateDescribed(
        uri_template="polymarket://subscription/{subscription_id}",
        name="subscription",
        title="One subscription",
        description="What one active subscription is and has received.",
        mime_type=_JSON,
    ),
    TemplateDescribed(
        uri_template="polymarket://book/{token_id}",
        name="book",
        title="Order book of a subscribed token",
        description="The best ten levels now, or why the book cannot be trusted.",
        mime_type=_JSON,
    ),
    TemplateDescribed(
        uri_template="polymarket://recording/{name}",
        name="recording",
        title="Quality of a recording",
        description="Coverage, gaps and their causes, checks and latency of one recording.",
        mime_type=_JSON,
    ),
]

_ADDRESS = re.compile(r"polymarket://(websocket-status|(subscription|book|recording)/([A-Za-z0-9._-]{1,128}))")


def reader(uri: str, manager: Manager, history: History, *, private: bool = True) -> Callable[[], Row | Struct]:
    """Give what reads a resource, the user's own orders and trades only if ``private``; it blocks.

    Raises:
        LookupError: there is no such resource; so for the reading itself.
    """
    found = _ADDRESS.fullmatch(uri)
    if found is None:
        raise LookupError("there is no such resource; the list of resources and templates has those that are")
    kind, name = found[2], found[3]
    match kind:
        case "subscription":
            return lambda: _subscription(manager, name, private=private)
        case "book":
            return lambda: _found(lambda: history.get_book(GetBook(token=name)))
        case "recording":
            return lambda: _found(lambda: history.get_recording_quality(GetQuality(recording=name)))
        case _:
            return lambda: _status(manager, private=private)


def _status(manager: Manager, *, private: bool) -> Row:
    status = plain(manager.status())
    return {**(status if private else public_status(status)), "as_of": utc_now()}


def _subscription(manager: Manager, name: str, *, private: bool) -> Row:
    for subscription in manager.subscriptions:
        if subscription.id == name and (private or not is_private(subscription.type)):
            return {**plain(subscription.to_dict()), "as_of": utc_now()}
    raise LookupError("there is no such subscription; polymarket://websocket-status lists those that are active")


def _found(read: Callable[[], Struct]) -> Struct:
    try:
        return read()
    except RefusalError as error:
        raise LookupError(str(error)) from error
