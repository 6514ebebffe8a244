"""The venue's words that something is wrong, none of which it documents."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import msgspec

from pmlive._wire.messages import Json
from pmlive.events import Channel

__all__ = ["complaint", "complaint_in", "complaint_in_words", "readable", "refuses_credentials", "without_secrets"]

# A longer message is no complaint, or none that anybody reads.
_LONGEST = 4096
_KEPT = 200
_DEPTH = 3
_FAILURE = re.compile(
    r"error|fail|invalid|denied|forbidden|unauthori[sz]ed|unauthenticated|not authori[sz]ed|rejected|refused"
    r"|bad request|not allowed|expired|missing|unknown|too many|limit|unavailable|malformed|unsupported",
    re.IGNORECASE,
)
_SUCCESS = re.compile(
    r"\b(ok|okay|success\w*|subscribed|unsubscribed|authenticated|authorized|authed|connected|welcome|hello|pong|ping"
    r"|ready|accepted)\b",
    re.IGNORECASE,
)
# The venue cannot say now whether credentials are good.
_LATER = re.compile(
    r"unavailable|internal|try again|retry|rate|too many|busy|overload|time.?out|timed out|maintenance|restart|draining"
    r"|going away|temporar",
    re.IGNORECASE,
)
_KINDS = ("type", "event", "event_type", "status", "op", "kind", "level", "result", "action")
_FLAGS = ("error", "errors", "err", "error_message", "errorMessage", "errorMsg", "error_msg")
_TEXTS = ("message", "msg", "reason", "detail", "details", "description", "code", "error_code", "status_code")
_NUMBERS = ("code", "status", "statusCode", "status_code", "error_code")
# What names a book or an order is data, unless it says outright that it is an error: by a key, or as its own kind.
_OUTRIGHT = ("type", "event", "event_type", "op", "kind")
_OF_DATA = frozenset({"asset_id", "assets_ids", "market", "price", "topic", "payload"})
_SENTENCE = re.compile(r"""[A-Za-z][^\x00-\x1f{}\[\]<>"\\]{1,399}""")
_FIRST_FAILURE = 400
_HTTP_LIKE = range(_FIRST_FAILURE, 600)
# Shorter words are too common to be taken for a part of a credential.
_SHORTEST_SECRET = 4
_WORD = re.compile(rf"[^\s'\",;:()]{{{_SHORTEST_SECRET},}}")
_KEY = re.compile(r"(?=\S*\d)[A-Za-z0-9+/_=-]{20,}")


def complaint(data: str | bytes) -> str | None:
    """Return the words of a frame, JSON or plain text, that says that something is wrong; None for any other.

    >>> complaint('{"message": "Invalid request body"}'), complaint("INVALID OPERATION"), complaint("PONG")
    ('Invalid request body', 'INVALID OPERATION', None)
    """
    if len(data) > _LONGEST:
        return None
    text = (data if isinstance(data, str) else data.decode("utf-8", "replace")).strip()
    try:
        value: Json = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return complaint_in_words(text)
    if isinstance(value, str):
        return complaint_in_words(value)
    found = (complaint_in(each) for each in _objects(value))
    return next((words for words in found if words is not None), None)


def complaint_in(message: Mapping[str, object]) -> str | None:
    """Return the words of a message that says that something is wrong; None for any other."""
    named = any(message.get(key) for key in _FLAGS)
    named = named or any(str(message.get(key)).lower() == "error" for key in _OUTRIGHT)
    if _OF_DATA & message.keys() and not named:
        return None
    if named or _is_flagged(message):
        return readable(_words(message)) or "an error without words"
    spoken = "" if message.get("event_type") else readable(_spoken(message))
    if not spoken or (_SUCCESS.search(spoken) and not _FAILURE.search(spoken)):
        return None
    return readable(_words(message))


def complaint_in_words(text: str) -> str | None:
    """Return plain text that says that something is wrong; None for any other."""
    spoken = readable([text]) if _SENTENCE.fullmatch(text) else ""
    return spoken if spoken and _FAILURE.search(spoken) else None


def without_secrets(words: str, secrets: Iterable[str]) -> str:
    """Mask every word that may be a part of a secret, or hold one, and whatever looks like a key.

    >>> without_secrets("no key hunter2-tail; try again", ["my-hunter2-tail"])
    'no key ***; try again'
    """
    long = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
    return _KEY.sub("***", _WORD.sub(lambda found: _unless_secret(found[0], long), words))


def _unless_secret(word: str, secrets: Iterable[str]) -> str:
    return "***" if any(word in secret or secret in word for secret in secrets) else word


def refuses_credentials(channel: Channel, words: str) -> bool:
    """Return whether a complaint, made before any data came, says that the credentials are not taken.

    The user channel has no other reason to complain; the price streams name theirs.
    """
    if _LATER.search(words):
        return False
    return channel == "user" or (channel == "prices" and "auth" in words.lower())


def readable(texts: Iterable[str]) -> str:
    """Join texts in one line, shortened and without what cannot be shown."""
    said = "; ".join(dict.fromkeys(filter(None, (_plain(text) for text in texts))))
    return said if len(said) <= _KEPT else f"{said[: _KEPT - 1]}…"


def _plain(text: str) -> str:
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _objects(value: Json) -> Iterator[dict[str, Json]]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield each


def _is_flagged(message: Mapping[str, object]) -> bool:
    kinds = [kind for key in _KINDS if isinstance(kind := message.get(key), str)]
    if any(_FAILURE.search(kind) for kind in kinds):
        return True
    numbers = [number for key in _NUMBERS if isinstance(number := message.get(key), int)]
    return any(number in _HTTP_LIKE for number in numbers) or False in (message.get("success"), message.get("ok"))


def _words(message: Mapping[str, object]) -> Iterator[str]:
    for key in (*_FLAGS, *_TEXTS, "data", "payload", "body"):
        yield from _leaves(message.get(key), key, _DEPTH)
    if not any(message.get(key) for key in (*_FLAGS, *_TEXTS)):
        yield from (kind for key in _KINDS if isinstance(kind := message.get(key), str))


def _spoken(message: Mapping[str, object]) -> Iterator[str]:
    return (text for key in _TEXTS if isinstance(text := message.get(key), str))


def _leaves(value: object, key: str, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool) and key in (*_NUMBERS, *_FLAGS):
        yield f"code {value}"
    elif isinstance(value, list) and depth:
        for each in cast("list[object]", value)[:5]:
            yield from _leaves(each, key, depth - 1)
    elif isinstance(value, dict) and depth:
        fields = cast("dict[str, object]", value)
        for name in (*_FLAGS, *_TEXTS):
            yield from _leaves(fields.get(name), name, depth - 1)
