"""Tokens some at a time, round after round, while others come and go."""

from collections.abc import Iterator, Mapping
from itertools import islice

__all__ = ["Turns"]


class Turns:
    """Goes through the ids of tokens without a copy of all, which would visit as many strings at once."""

    def __init__(self) -> None:
        self._round: Iterator[str] = iter(())

    def begin(self, tokens: Mapping[str, object]) -> None:
        """Begin a round with the first token."""
        self._round = iter(tokens)

    def take(self, tokens: Mapping[str, object], count: int) -> list[str]:
        """Return so many more ids, or fewer where a round ends; some may be gone, and none that stays is left out."""
        try:
            found = list(islice(self._round, count))
        except RuntimeError:
            # Their number has changed. A copy is made only then.
            self._round = iter(tuple(tokens))
            return []
        if len(found) < count:
            self.begin(tokens)
        return found
