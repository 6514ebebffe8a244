"""What recorders say in words: the words of notes, comments between lines, and the texts beside a note's word.

``"lost"``: the recorder did not keep everything; ``"failed"``: it, or the venue, says that something is wrong;
``"restarted"``: it stopped or began, so frames before and after this are not of one run. ``"sent"`` is what the client
sent, ``"note"`` whatever does not matter.
"""

import re
from typing import Literal, TypeAlias

__all__ = ["Note", "meaning_of_text"]

Note: TypeAlias = Literal["", "opened", "closed", "lost", "failed", "restarted", "sent", "note"]

_LOST = (
    r"drop(?:s|ped|ping)?|lost|loss(?:es)?|loses?|miss(?:ed|es|ing)?|overflow(?:s|ed|ing)?|overrun|gaps?"
    r"|skip(?:s|ped|ping)?|discard(?:s|ed|ing)?|truncat(?:ed|ion)|torn|corrupt(?:ed|ion)?|incomplete"
)
_CLOSED = (
    r"disconnect(?:s|ed|ion|ing)?|reconnect(?:s|ed|ion|ing)?"
    r"|(?:connection|socket|websocket|ws|stream)(?: was| is)? (?:closed|reset|broken|down|interrupted)"
)
_FAILED = r"error(?=:)|(?-i:ERROR)|exceptions?|traceback|fail(?:s|ed|ure|ures)?|fatal|crash(?:ed)?|panic|abort(?:ed)?"
_RESTARTED = r"restart(?:s|ed|ing)?|resum(?:ed|es|ing)|killed|paus(?:ed?|ing)|suspended|started|stopped|shutdown"
_MEANINGS: tuple[tuple[Note, str], ...] = (
    ("lost", _LOST),
    ("closed", _CLOSED),
    ("failed", _FAILED),
    ("restarted", _RESTARTED),
)
# A word that is denied just before it says nothing, nor one of which there are none: the number after it counts, or the
# one before where none follows.
_DENIED = r"\b(?:no|not|none|never|nothing|without|zero)(?: [a-z]+){0,2} $"
_clauses = re.compile(r"[^.,;|\n]+(?:\.\d+)?").findall
_number = re.compile(r"\d+").search
_numbers = re.compile(r"\d+").findall
_is_denied = re.compile(_DENIED, re.IGNORECASE).search
_words: tuple[tuple[Note, re.Pattern[str]], ...] = tuple(
    (note, re.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", re.IGNORECASE)) for note, words in _MEANINGS
)


def meaning_of_text(text: str) -> Note:
    """Return what a text says of the recording.

    >>> meaning_of_text("dropped 5 frames"), meaning_of_text("received 90, dropped 0"), meaning_of_text("no gaps")
    ('lost', 'note', 'note')
    """
    for note, words in _words:
        if any(_says(clause, found) for clause in _clauses(text) for found in words.finditer(clause)):
            return note
    return "note"


def _says(clause: str, word: re.Match[str]) -> bool:
    before, after = clause[: word.start()], clause[word.end() :]
    if _is_denied(before):
        return False
    follows = _number(after)
    count = follows[0] if follows is not None else next(iter(reversed(_numbers(before))), "1")
    return int(count) > 0
