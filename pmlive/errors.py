"""The exceptions that a caller may catch.

A wrong argument is a built-in ``TypeError`` or ``ValueError``. A disconnection is not an error but a row in ``gaps``.
"""

from datetime import datetime

__all__ = [
    "AuthError",
    "BookError",
    "FeedError",
    "NoRecordingError",
    "PmliveError",
    "ProtocolError",
    "StoreError",
    "UnknownMarketError",
]


class PmliveError(Exception):
    """The base class of every exception that pmlive itself raises."""


class ProtocolError(PmliveError):
    """A message does not follow the venue's protocol."""


class BookError(PmliveError):
    """A book cannot be trusted.

    Attributes:
        cause: the cause of the gap that the book is in, as in the table ``gaps``; None if the book has not come yet.
        since: when that gap began; None if the book has not come yet.
    """

    def __init__(self, message: str, *, cause: str | None = None, since: datetime | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.since = since


class FeedError(PmliveError):
    """The venue cannot be reached or does not answer, and trying again does not help."""


class StoreError(PmliveError):
    """A recording cannot be written or read."""


class NoRecordingError(StoreError, FileNotFoundError):
    """The folder of a recording does not exist."""


class AuthError(PmliveError):
    """Credentials are missing or were refused."""


class UnknownMarketError(PmliveError, LookupError):
    """The venue does not know a market."""
