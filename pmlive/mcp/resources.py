"""Resources that can be read by address, and prompts for what a researcher asks again and again."""

import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from pmlive.manager import Manager
from pmlive.mcp.definitions import GetBook, GetQuality
from pmlive.mcp.history import HistoryTools
from pmlive.mcp.safety import RefusalError, Row, is_private, public_status, safe_row, utc_now
from pmlive.mcp.specs import PromptArgument, PromptSpec, ResourceSpec, TemplateSpec

__all__ = ["PROMPTS", "RESOURCES", "TEMPLATES", "fill_prompt", "resource_reader", "uris_of"]

_JSON = "application/json"
_STATUS = "polymarket://websocket-status"
_URI = re.compile(r"polymarket://(websocket-status|(subscription|book|recording)/([A-Za-z0-9._-]{1,128}))")

RESOURCES = [
    ResourceSpec(
        uri=_STATUS,
        name="websocket-status",
        title="Status of the live feed",
        description="Connections, subscriptions, statistics, books and the recording, as the manager reports them.",
        mime_type=_JSON,
    )
]
TEMPLATES = [
    TemplateSpec(
        uri_template="polymarket://subscription/{subscription_id}",
        name="subscription",
        title="One subscription",
        description="What one active subscription is and has received.",
        mime_type=_JSON,
    ),
    TemplateSpec(
        uri_template="polymarket://book/{token_id}",
        name="book",
        title="Order book of a subscribed token",
        description="The best ten levels now, or why the book cannot be trusted.",
        mime_type=_JSON,
    ),
    TemplateSpec(
        uri_template="polymarket://recording/{name}",
        name="recording",
        title="Quality of a recording",
        description="Coverage, gaps and their causes, checks and latency of one recording.",
        mime_type=_JSON,
    ),
]

PROMPTS = [
    PromptSpec(
        name="review_recording",
        title="Review a recording",
        description="Judge what a recording is worth before it is used: coverage, gaps, checks, minutes to leave out.",
        arguments=(
            PromptArgument(
                name="recording", description="Name of the recording, as listed by get_recording_quality", required=True
            ),
        ),
    ),
    PromptSpec(
        name="explain_move",
        title="Explain a price move",
        description="Find out what happened to a book around a time of a recording: trades, depth, spread, and gaps.",
        arguments=(
            PromptArgument(name="recording", description="Name of the recording", required=True),
            PromptArgument(name="token_id", description="Token whose price moved", required=True),
            PromptArgument(name="time", description="About when, ISO 8601, UTC", required=True),
        ),
    ),
]

_TEXTS = {
    "review_recording": (
        "Review the recording {recording}. Call get_recording_quality for it first. Then say, in this order: what "
        "share of the time its books can be trusted; each fault with its interval and cause; whether hashes, best "
        "prices and fresh snapshots agreed; how late messages came; and which minutes to leave out. For a fault "
        "longer than ten seconds, look with query_recording at prices just before and just after it, and say what may "
        "have been missed. State numbers with units, and what you could not find out."
    ),
    "explain_move": (
        "Explain what happened to the book of token {token_id} around {time} in the recording {recording}. First see "
        "with query_recording whether a gap touches the ten minutes around it; if one does, say what cannot be known. "
        "Then compare get_book one minute before, at the time and one minute after; read the trades of these minutes, "
        "aggregated by 10s; and tell which came first, trades or withdrawn orders. Distinguish what the data show from "
        "what you suppose."
    ),
}
# What may stand in a prompt: names, ids and times, and no sentences.
_ARGUMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:+_-]{0,127}")


def resource_reader(
    uri: str, manager: Manager, history: HistoryTools, *, private: bool = True
) -> Callable[[], Row | Struct]:
    """Return a function that reads a resource, what is the user's own only if ``private``; it blocks.

    Raises:
        LookupError: there is no such resource; the reading may raise it, too.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise LookupError("there is no such resource; the list of resources and templates has those that are")
    kind, name = match[2], match[3]
    match kind:
        case "subscription":
            return lambda: _subscription(manager, name, private=private)
        case "book":
            return lambda: _read_or_raise(lambda: history.get_book(GetBook(token=name)))
        case "recording":
            return lambda: _read_or_raise(lambda: history.get_recording_quality(GetQuality(recording=name)))
        case _:
            return lambda: _status(manager, private=private)


def uris_of(update: Row) -> tuple[str, ...]:
    """List the addresses of the resources that an update changes."""
    uris = [_STATUS]
    if isinstance(subscription_id := update.get("subscription_id"), str):
        uris.append(f"polymarket://subscription/{subscription_id}")
    if update.get("table") in ("prices", "depth", "gaps") and isinstance(token_id := update.get("token_id"), str):
        uris.append(f"polymarket://book/{token_id}")
    return tuple(uris)


def fill_prompt(name: str, arguments: Mapping[str, str]) -> str:
    """Fill in a prompt.

    Raises:
        LookupError: there is no such prompt.
        ValueError: an argument is missing, is not known, or is not a name, an id or a time.
    """
    prompt = next((each for each in PROMPTS if each.name == name), None)
    if prompt is None:
        raise LookupError(f"there is no such prompt; there are: {', '.join(each.name for each in PROMPTS)}")
    wanted = [argument.name for argument in prompt.arguments]
    if set(arguments) != set(wanted):
        raise ValueError(f"invalid arguments; this prompt takes exactly: {', '.join(wanted)}")
    for argument in wanted:
        if not _ARGUMENT.fullmatch(arguments[argument]):
            raise ValueError(f"invalid {argument}; expected a name, an id or a time, without spaces")
    return _TEXTS[name].format(**arguments)


def _status(manager: Manager, *, private: bool) -> Row:
    status = manager.report()
    return {**safe_row((status if private else public_status(status)).to_dict()), "as_of": utc_now()}


def _subscription(manager: Manager, name: str, *, private: bool) -> Row:
    for subscription in manager.subscriptions:
        if subscription.id == name and (private or not is_private(subscription.type)):
            return {**safe_row(subscription.to_dict()), "as_of": utc_now()}
    raise LookupError("there is no such subscription; polymarket://websocket-status lists those that are active")


def _read_or_raise(read: Callable[[], Struct]) -> Struct:
    try:
        return read()
    except RefusalError as error:
        raise LookupError(str(error)) from error
