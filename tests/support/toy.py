"""A toolkit whose tools do next to nothing, and whose changes come when a test says so."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal

from pmlive.mcp.events import ResourceChange
from pmlive.mcp.specs import (
    INSTRUCTIONS,
    Caller,
    ObjectSchema,
    Progress,
    PromptArgument,
    PromptSpec,
    ResourceSpec,
    Schema,
    TemplateSpec,
    ToolResult,
    ToolSpec,
)

__all__ = ["STATUS", "Toy", "change"]

STATUS = "polymarket://websocket-status"
_TEXT: Schema = {"type": "string"}


def _tool(name: str, properties: dict[str, Schema], *required: str) -> ToolSpec:
    schema: ObjectSchema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return ToolSpec(
        name=name,
        title=name.capitalize(),
        description=f"Does what {name} does. Use it in tests.",
        input_schema=schema,
        output_schema={"type": "object", "properties": {"said": _TEXT}, "required": ["said"]},
        read_only=name == "echo",
        idempotent=True,
        destructive=False,
        open_world=False,
    )


def change(
    number: int = 0,
    *uris: str,
    table: str = "trades",
    callback_type: Literal["notification", "log"] | None = "notification",
    urgent: bool = False,
    padding: int = 0,
) -> ResourceChange:
    """Make a change of one subscription; ``number`` tells it from others."""
    return ResourceChange(
        uris=uris or (STATUS,),
        update={"subscription_id": "s1", "table": table, "token_id": "t1", "number": number, "more": "x" * padding},
        callback_type=callback_type,
        urgent=urgent,
    )


class Toy:
    """What a server needs of a toolkit, without anything behind it."""

    instructions = INSTRUCTIONS
    # A schema of each shape that clients and other people's servers meet: names that a model class has, too.
    tools = (
        _tool(
            "echo", {"text": {**_TEXT, "description": "What to say"}, "copy": {"type": "integer", "minimum": 1}}, "text"
        ),
        _tool("wait", {"seconds": {"type": "number", "minimum": 0, "maximum": 25}}),
        _tool("break", {}),
    )
    resources = (
        ResourceSpec(uri=STATUS, name="status", title="Status", description="How it is", mime_type="application/json"),
    )
    templates = (
        TemplateSpec(
            uri_template="polymarket://book/{token_id}",
            name="book",
            title="Book",
            description="A book",
            mime_type="application/json",
        ),
    )
    prompts = (
        PromptSpec(
            name="night",
            title="Night",
            description="What happened",
            arguments=(PromptArgument(name="recording", description="Which one", required=True),),
        ),
    )

    def __init__(self) -> None:
        self.listeners: list[Callable[[ResourceChange], object]] = []
        self.arguments: list[Mapping[str, object]] = []

    async def call(
        self,
        name: str,
        arguments: Mapping[str, object],
        progress: Progress | None = None,
        *,
        client: Caller | None = None,
    ) -> ToolResult:
        del client
        self.arguments.append(arguments)
        if name == "break":
            raise RuntimeError("a secret-canary from within")
        if name == "wait":
            return await self._wait(progress)
        text = arguments.get("text")
        if not isinstance(text, str) or set(arguments) - {"text", "copy"}:
            return ToolResult(structured=None, text="give text, and nothing else", failed=True)
        return ToolResult(structured={"said": text}, text='{"said":"…"}')

    async def _wait(self, progress: Progress | None) -> ToolResult:
        for done in (1.0, 2.0):
            if progress is not None:
                await progress(done, 2.0, "waiting")
            await asyncio.sleep(0)
        return ToolResult(structured={"said": "waited"}, text='{"said":"waited"}')

    async def read(self, uri: str) -> str:
        if uri == "polymarket://book/broken":
            raise RuntimeError("a secret-canary from within")
        if uri.endswith("/missing") or not uri.startswith((STATUS, "polymarket://book/")):
            raise LookupError("nothing of this name")
        return f'{{"of":"{uri.rpartition("/")[2]}"}}'

    def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        if name != "night":
            raise LookupError("no such prompt")
        if "recording" not in arguments:
            raise ValueError("the prompt needs recording")
        return f"Tell of {arguments['recording']}."

    def listen(self, tell: Callable[[ResourceChange], object]) -> Callable[[], None]:
        self.listeners.append(tell)
        return lambda: self.listeners.remove(tell)

    def happens(self, *changes: ResourceChange) -> None:
        """Let changes come, as from a thread of its own."""
        for each in changes:
            for tell in tuple(self.listeners):
                tell(each)
