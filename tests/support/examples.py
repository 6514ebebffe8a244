"""How many examples a test tries that needs more or fewer than others."""

from hypothesis import settings

__all__ = ["examples"]

_USUAL = 100


def examples(count: int) -> settings:
    """Return settings with ``count`` examples, or with the share of them that other tests try, too."""
    return settings(max_examples=max(2, count * settings().max_examples // _USUAL))
