"""What came of one fault."""

import msgspec

__all__ = ["Outcome", "Told"]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The gaps of one cause: how many, and how long the longest is in seconds."""

    cause: str
    gaps: int
    longest: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One row as it went; it held if there is no complaint."""

    name: str
    group: str
    lasted: float
    missed: int = 0
    missed_in_no_gap: int = 0
    told: list[Told] = []
    refused: int = 0
    tokens: int = 0
    recovered_after: float | None = None
    code: int | None = None
    complaints: list[str] = []

    @property
    def held(self) -> bool:
        """Tell whether everything came as it must."""
        return not self.complaints

    def to_dict(self) -> dict[str, object]:
        """Give everything as JSON can hold it."""
        return {"held": self.held, **msgspec.structs.asdict(self)}
