"""How often the venue may be asked."""

import msgspec

__all__ = ["Bucket", "bucket_for"]

_WINDOW = 10.0
# Requests in ten seconds, at most half of what the venue publishes, so that other programs of the user have theirs. The
# first prefix that fits a request's path counts.
_LIMITS = (
    ("/public-search", 150),
    ("/events", 250),
    ("/markets", 150),
    ("/book", 700),
    ("/time", 700),
    ("/", 100),
)


class Bucket(msgspec.Struct):
    """Allow bursts of up to ``size`` requests and ``rate`` of them a second in the long run."""

    size: float
    rate: float
    _tokens: float = 0.0
    _last: float | None = None

    def reserve(self, now: float) -> float:
        """Take a place in the queue and tell how many seconds to wait for it."""
        passed = 0.0 if self._last is None else max(0.0, now - self._last)
        tokens = self.size if self._last is None else min(self.size, self._tokens + passed * self.rate)
        self._tokens, self._last = tokens - 1, now
        return max(0.0, -self._tokens / self.rate)


def bucket_for(path: str, buckets: dict[str, Bucket]) -> Bucket:
    """Choose the bucket of a path, adding it when it is the first of its kind."""
    prefix, count = next((prefix, count) for prefix, count in _LIMITS if path.startswith(prefix))
    return buckets.setdefault(prefix, Bucket(size=count / _WINDOW, rate=count / _WINDOW))
