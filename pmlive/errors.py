"""The errors a caller may catch.

A wrong argument is a built-in ``TypeError`` or ``ValueError``. A disconnection is not an error but a row in ``gaps``.
"""

from datetime import datetime

__all__ = [
    "AuthError",
    "BookError",
    "FeedError",
    "PmliveError",
    "ProtocolError",
    "StoreError",
    "UnknownMarketError",
]


class PmliveError(Exception):
    """Catch everything that pmlive itself raises."""


class ProtocolError(PmliveError):
    """Report a message that does not follow the venue's protocol."""


class BookError(PmliveError):
    """Report a book that cannot be trusted.

    Attributes:
        cause: the cause of the gap that the book is in, as in the table ``gaps``; None where it has not come yet.
        since: when that gap began; None where it has not come yet.
    """

    def __init__(self, message: str, *, cause: str | None = None, since: datetime | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.since = since


class FeedError(PmliveError):
    """Report a connection that cannot be had by trying again."""


class StoreError(PmliveError):
    """Report a recording that cannot be written or read."""


class AuthError(PmliveError):
    """Report credentials that are missing or were refused."""


class UnknownMarketError(PmliveError, LookupError):
    """Report a market that the venue does not know."""
