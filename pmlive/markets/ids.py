"""What the venue's ids look like; whoever must tell an id from something else asks here.

A token id is a number below 2**256 in decimal digits. Most have 75 to 78 of them, but those of protocol V2 markets may
have fewer. A condition id is ``0x`` and 32 bytes in hexadecimal digits, or 31 bytes in V2 markets. Both are opaque:
they are compared and passed on as they were written.
"""

import re

__all__ = ["is_condition_id", "is_hexadecimal", "is_long_token_id", "is_token_id"]

_DIGITS = re.compile(r"[0-9]{1,78}")
_BELOW = 2**256
# The catalogue numbers its markets, too, with far fewer digits than this.
_NO_NUMBER_OF_THE_CATALOGUE = 20
_CONDITION = re.compile(r"0x(?:[0-9a-f]{64}|[0-9a-f]{62})", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"0x[0-9a-f]{1,64}", re.IGNORECASE)


def is_token_id(text: str) -> bool:
    """Tell whether a text can be a token id.

    >>> is_token_id("7"), is_token_id("9" * 77), is_token_id("9" * 78), is_token_id("0x7")
    (True, True, False, False)
    """
    return _DIGITS.fullmatch(text) is not None and int(text) < _BELOW


def is_long_token_id(text: str) -> bool:
    """Tell whether a text is a token id and has too many digits to be the catalogue's number of a market."""
    return len(text) >= _NO_NUMBER_OF_THE_CATALOGUE and is_token_id(text)


def is_condition_id(text: str) -> bool:
    """Tell whether a text has the form of a condition id, of 32 or of 31 bytes."""
    return _CONDITION.fullmatch(text) is not None


def is_hexadecimal(text: str) -> bool:
    """Tell whether a text can stand where the venue writes a condition id: any hexadecimal digits, 64 at most."""
    return _HEXADECIMAL.fullmatch(text) is not None
