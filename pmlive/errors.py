"""The errors a caller may catch.

A wrong argument is a built-in ``TypeError`` or ``ValueError``. A disconnection is not an error but a row in ``gaps``.
"""

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
    """Report a book that cannot be trusted now, with the reason."""


class FeedError(PmliveError):
    """Report a connection that cannot be had by trying again."""


class StoreError(PmliveError):
    """Report a recording that cannot be written or read."""


class AuthError(PmliveError):
    """Report credentials that are missing or were refused."""


class UnknownMarketError(PmliveError, LookupError):
    """Report a market that the venue does not know."""
