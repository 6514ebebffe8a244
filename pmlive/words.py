"""Words for people."""

__all__ = ["counted"]


def counted(count: int, noun: str) -> str:
    """Return how many there are of what a noun names.

    >>> counted(1, "token"), counted(2_000, "minute"), counted(0, "gap")
    ('1 token', '2,000 minutes', '0 gaps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
