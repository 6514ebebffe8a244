"""What recorders say between the frames: that a connection was opened or lost, what they sent, and other notes."""

import re
from typing import Literal, TypeAlias

from pmlive import _wire
from pmlive.captures.fields import Fields, text_of
from pmlive.captures.naming import Layout, layout

__all__ = ["Word", "is_header", "word_of"]

# "lost": the recorder did not keep everything; "failed": it, or the venue, says that something is wrong; "stopped": it
# ended, so that frames after this are of another run. A note is of no consequence for the books.
Word: TypeAlias = Literal["", "opened", "closed", "lost", "failed", "stopped", "sent", "note"]

_OPENED = {"connect", "connected", "open", "opened", "reconnect", "reconnected", "wsopen", "onopen", "connectionopened"}
_CLOSED = {
    "disconnect",
    "disconnected",
    "close",
    "closed",
    "wsclose",
    "onclose",
    "connectionclosed",
    "connectionlost",
} | {"reconnecting"}
_LOST = {"gap", "sequencegap", "dropped", "framesdropped", "messagesdropped", "overflow", "queueoverflow", "lost"}
_SENT = {"out", "outgoing", "send", "sent", "tx", "subscribe", "unsubscribe"}
_NOTES = (
    {"connecting", "subscribed", "subscribing", "subscription"}
    | {"unsubscribed", "resync", "resyncbegin", "resyncstart", "resyncend", "resyncdone", "resynced", "lifecycle"}
    | {"heartbeat", "keepalive", "ping", "pong", "pingsent", "pongreceived"}
)
# Words that a message of the venue might be called as well, which a line of the recorder is only without its keys.
_PERHAPS_NOTES = (
    {"meta", "metadata", "header", "headers", "manifest", "session", "sessionstart", "start", "started", "begin", "end"}
    | {"finish", "finished", "info", "log", "note", "comment", "status", "stats", "statistics", "summary", "checkpoint"}
    | {"rotate", "rotated", "config", "warning"}
)
_FAILED = {"error", "exception"}
_STOPPED = {"sessionend", "stop", "stopped", "shutdown"}
_WORDS: tuple[tuple[Word, set[str]], ...] = (
    ("sent", _SENT),
    ("opened", _OPENED),
    ("closed", _CLOSED),
    ("lost", _LOST),
    ("note", _NOTES),
)
_ALL_WORDS: tuple[tuple[Word, set[str]], ...] = (
    *_WORDS,
    ("failed", _FAILED),
    ("stopped", _STOPPED),
    ("note", _PERHAPS_NOTES),
)
_not_letters = re.compile(r"[^a-z]")


def word_of(fields: Fields, keys: Layout) -> Word:
    """Return what an object says about the connection or the recorder, if anything."""
    said = {_not_letters.sub("", text_of(bytes(fields[key])).lower()) for key in keys.words}
    directions = {text_of(bytes(fields[key])).lower() for key in keys.directions}
    if directions & (_SENT | {"client"}):
        return "sent"
    if said:
        table = _WORDS if _wire.has_own_keys(fields) else _ALL_WORDS
        for word, names in table:
            if said & names:
                return word
    return "sent" if _wire.is_subscription(fields) else ""


def is_header(fields: Fields) -> bool:
    """Tell whether an object without a frame is about the capture."""
    keys = layout(tuple(fields))
    return bool(keys.headers) and not keys.frames and not _wire.has_own_keys(fields)
