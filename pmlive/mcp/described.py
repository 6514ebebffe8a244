"""What a toolkit says of itself and of what it was asked, in terms that every transport can carry."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from pmlive.mcp.texts import Row, plain

__all__ = [
    "Answer",
    "Change",
    "Client",
    "Described",
    "Progress",
    "PromptArgument",
    "PromptDescribed",
    "ResourceDescribed",
    "TemplateDescribed",
]

# Told how far a call is, of how much, and what it does.
Progress: TypeAlias = Callable[[float, float, str], Awaitable[None]]


class Described(Struct, frozen=True, kw_only=True):
    """A tool."""

    name: str
    title: str
    description: str
    input_schema: dict[str, object]
    output_schema: dict[str, object]
    read_only: bool
    idempotent: bool
    destructive: bool
    open_world: bool


class ResourceDescribed(Struct, frozen=True, kw_only=True):
    """A resource that is always there."""

    uri: str
    name: str
    title: str
    description: str
    mime_type: str


class TemplateDescribed(Struct, frozen=True, kw_only=True):
    """A kind of resource."""

    uri_template: str
    name: str
    title: str
    description: str
    mime_type: str


class PromptArgument(Struct, frozen=True, kw_only=True):
    """What a prompt is filled with."""

    name: str
    description: str
    required: bool


class PromptDescribed(Struct, frozen=True, kw_only=True):
    """A prompt."""

    name: str
    title: str
    description: str
    arguments: tuple[PromptArgument, ...]


class Answer(Struct, frozen=True, kw_only=True):
    """What a tool found, as an object and as the same in text; or, where it failed, what failed and the next step."""

    structured: dict[str, object] | None
    text: str
    failed: bool = False


class Client:
    """One who asks, where the protocol tells one from another; ``gone`` once it cannot ask any more."""

    def __init__(self) -> None:
        self.gone = False


class Change(Struct, frozen=True, kw_only=True):
    """What a client may want to be told of: resources that changed, and the event that changed them."""

    uris: tuple[str, ...]
    update: Row | None
    callback_type: Literal["notification", "log"] | None
    urgent: bool

    def told(self) -> Row | None:
        """Give the event as clients may see it; few changes are told, so none is cleaned before."""
        return None if self.update is None else plain(self.update)


class Kit(Protocol):
    """What a server needs of a toolkit."""

    instructions: str

    @property
    def tools(self) -> Sequence[Described]:
        """List the tools, always in the same order."""
        ...

    @property
    def resources(self) -> Sequence[ResourceDescribed]:
        """List the resources."""
        ...

    @property
    def templates(self) -> Sequence[TemplateDescribed]:
        """List the kinds of resources."""
        ...

    @property
    def prompts(self) -> Sequence[PromptDescribed]:
        """List the prompts."""
        ...

    async def call(
        self,
        name: str,
        arguments: Mapping[str, object],
        progress: Progress | None = None,
        *,
        client: Client | None = None,
    ) -> Answer:
        """Call a tool; what it refuses is an answer, too."""
        ...

    async def read(self, uri: str) -> str:
        """Read a resource.

        Raises:
            LookupError: there is none of this name.
        """
        ...

    def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """Fill in a prompt.

        Raises:
            LookupError: there is none of this name.
            ValueError: what it is filled with is missing or wrong.
        """
        ...

    def listen(self, tell: Callable[[Change], object]) -> Callable[[], None]:
        """Call a function at each change, in a thread of the toolkit's, until what this gives is called."""
        ...
