"""The parts of a widget, which live on in the kernel until each is closed."""

from typing import Protocol, cast

__all__ = ["close_parts"]


class Part(Protocol):
    """A widget within another, its layout or its style."""

    def close(self) -> None:
        """End it."""
        ...


def close_parts(widget: object) -> None:
    """Close everything in a widget, at any depth.

    A page that is loaded again asks for all that is open, and shows nothing at all if one part of that is closed.
    """
    for child in cast("tuple[Part, ...]", getattr(widget, "children", ())):
        child.close()
        close_parts(child)
    for name in ("layout", "style"):
        if (part := cast("Part | None", getattr(widget, name, None))) is not None:
            part.close()
