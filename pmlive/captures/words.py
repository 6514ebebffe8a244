"""What recorders say between the frames: that a connection was opened or lost, what they sent, and other notes."""

import re
from typing import Literal, TypeAlias

from pmlive import _wire
from pmlive.captures.fields import Fields, text_of
from pmlive.captures.naming import Layout, layout

__all__ = ["Word", "is_header", "word_of"]

# A note is of no consequence for the books; "lost" is that the recorder itself did not keep everything.
Word: TypeAlias = Literal["", "opened", "closed", "lost", "sent", "note"]

_OPENED = {"connect", "connected", "open", "opened", "reconnect", "reconnected", "wsopen", "onopen", "connectionopened"}
_CLOSED = {"disconnect", "disconnected", "close", "closed", "wsclose", "onclose", "connectionclosed", "connectionlost"}
_LOST = {"gap", "sequencegap", "dropped", "framesdropped", "messagesdropped", "overflow", "queueoverflow", "lost"}
_SENT = {"out", "outgoing", "send", "sent", "tx", "subscribe", "unsubscribe"}
_NOTES = (
    {"connecting", "reconnecting", "subscribed", "subscribing", "subscription"}
    | {"unsubscribed", "resync", "resyncbegin", "resyncstart", "resyncend", "resyncdone", "resynced", "lifecycle"}
    | {"heartbeat", "keepalive", "ping", "pong", "pingsent", "pongreceived"}
)
# Words that a message of the venue might be called as well, which a line of the recorder is only without its keys.
_PERHAPS_NOTES = (
    {"meta", "metadata", "header", "headers", "manifest", "session", "sessionstart", "sessionend", "start", "started"}
    | {"begin", "stop", "stopped", "end", "finish", "finished", "shutdown", "info", "log", "note", "comment", "status"}
    | {"stats", "statistics", "summary", "checkpoint", "rotate", "rotated", "config", "warning", "error", "exception"}
)
_not_letters = re.compile(r"[^a-z]")


def word_of(fields: Fields, keys: Layout) -> Word:
    """Tell what an object says about the connection or the recorder, if anything."""
    said = {_not_letters.sub("", text_of(bytes(fields[key])).lower()) for key in keys.words}
    directions = {text_of(bytes(fields[key])).lower() for key in keys.directions}
    if said & _SENT or directions & (_SENT | {"client"}):
        return "sent"
    if said & _OPENED:
        return "opened"
    if said & _CLOSED:
        return "closed"
    if said & _LOST:
        return "lost"
    if said & _NOTES or (said & _PERHAPS_NOTES and not _wire.has_own_keys(fields)):
        return "note"
    return "sent" if _wire.is_subscription(fields) else ""


def is_header(fields: Fields) -> bool:
    """Tell whether an object without a frame is about the capture."""
    keys = layout(tuple(fields))
    return bool(keys.headers) and not keys.frames and not _wire.has_own_keys(fields)
