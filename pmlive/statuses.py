"""What an HTTP status means to whoever wants to ask again, over HTTPS and at a socket's handshake alike."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["is_refusal", "retry_after"]

# Asking again soon cannot mend these: a sign-in, a block by Cloudflare or a country, an address that is not there.
_REFUSALS = frozenset({401, 403, 404, 407, 451})
_REDIRECTION = 3
# A server that wants to be left alone for longer is asked again all the same, in seconds.
_LONGEST = 3600.0


def is_refusal(status: int) -> bool:
    """Tell whether a status says that the server does not want to answer, and not that it cannot now.

    >>> is_refusal(403), is_refusal(302), is_refusal(429), is_refusal(503)
    (True, True, False, False)
    """
    return status in _REFUSALS or status // 100 == _REDIRECTION


def retry_after(text: str | None) -> float | None:
    """Read the header ``Retry-After``, seconds or a date, as seconds from now, an hour at most.

    What is neither is ignored.

    >>> retry_after("7"), retry_after("86400"), retry_after("soon"), retry_after(None)
    (7.0, 3600.0, None, None)
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST)
    try:
        return min(max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()), _LONGEST)
    except (TypeError, ValueError, OverflowError):
        return None
