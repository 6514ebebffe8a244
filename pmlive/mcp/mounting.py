"""The tools in other people's servers: added to a high-level one, or as a list for a low-level one.

Nothing of the host is patched, and only what the SDK offers to everybody is used. How pushes are sent is decided where
a server is made, so there are none here: callers follow with a cursor.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeVar

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, create_model
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from pmlive.mcp.server import call_tool, sdk_result, sdk_tool
from pmlive.mcp.specs import Progress, ToolkitLike, ToolSpec
from pmlive.mcp.toolkit import Toolkit

if TYPE_CHECKING:
    from pmlive.manager import Manager

__all__ = ["Tools", "add_to", "mount", "tools"]

T = TypeVar("T")


class Tools(list[types.Tool]):
    """The tools of a manager as a low-level server lists them; ``call`` answers for them."""

    def __init__(self, toolkit: ToolkitLike) -> None:
        super().__init__(map(sdk_tool, toolkit.tools))
        self._toolkit = toolkit

    def names(self) -> list[str]:
        """List the names that ``call`` answers for."""
        return [tool.name for tool in self]

    async def call(
        self, name: str, arguments: Mapping[str, object] | None = None, progress: Progress | None = None
    ) -> types.CallToolResult:
        """Call a tool; what goes wrong is a result, too.

        Args:
            name: one of ``names()``.
            arguments: the tool's, by name.
            progress: called with how long was waited, such as ``context.session.report_progress``.

        Raises:
            LookupError: there is no such tool.
        """
        return sdk_result(await call_tool(self._toolkit, name, arguments or {}, progress))

    async def on_list_tools(self, context: object, params: object) -> types.ListToolsResult:
        """Handle ``tools/list`` in a low-level server that has no tools of its own."""
        del context, params
        return types.ListToolsResult(tools=self)

    async def on_call_tool(
        self, context: ServerRequestContext[object], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Handle ``tools/call`` in a low-level server that has no tools of its own.

        Raises:
            MCPError: there is no such tool.
        """
        try:
            return await self.call(params.name, params.arguments, context.session.report_progress)
        except LookupError as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from error


def tools(manager: "Manager", *, recordings: str | Path | None = None) -> Tools:
    """Return the tools of a manager for a low-level server of your own.

    Args:
        manager: what they use; it stays yours to close.
        recordings: the folder of recordings that may be asked of, by default the one where recordings go.
    """
    return Tools(_toolkit(manager, recordings))


def mount(server: MCPServer, manager: "Manager", *, recordings: str | Path | None = None) -> None:
    """Add the tools and resources of a manager to a high-level server of your own.

    Args:
        server: where to; what it has already stays as it is.
        manager: what they use; it stays yours to close.
        recordings: the folder of recordings that may be asked of, by default the one where recordings go.

    Raises:
        ValueError: the server has some of them already; nothing was added.
    """
    toolkit = _toolkit(manager, recordings)
    try:
        add_to(server, toolkit)
    except BaseException:
        toolkit.close()
        raise


def add_to(server: MCPServer, toolkit: ToolkitLike) -> None:
    """Add tools and resources to a server.

    Raises:
        ValueError: the server has some of them already; nothing was added.
    """
    if taken := _names_taken(server, toolkit):
        raise ValueError(
            f"this server has {', '.join(taken)} already; nothing was added, so rename yours or leave ours"
        )
    for tool in toolkit.tools:
        listed = sdk_tool(tool)
        server.add_tool(
            _function(tool, toolkit),
            name=tool.name,
            title=tool.title,
            description=tool.description,
            annotations=listed.annotations,
        )
    for each in toolkit.resources:
        add = server.resource(
            each.uri, name=each.name, title=each.title, description=each.description, mime_type=each.mime_type
        )
        add(_reader(toolkit, each.name, UriTemplate.parse(each.uri)))
    for each in toolkit.templates:
        add = server.resource(
            each.uri_template, name=each.name, title=each.title, description=each.description, mime_type=each.mime_type
        )
        add(_reader(toolkit, each.name, UriTemplate.parse(each.uri_template)))


def _toolkit(manager: "Manager", recordings: str | Path | None) -> Toolkit:
    toolkit = Toolkit(manager, None if recordings is None else Path(recordings))
    manager.at_close(toolkit.close)
    return toolkit


def _names_taken(server: MCPServer, toolkit: ToolkitLike) -> list[str]:
    """List the names of a toolkit that a server has already."""

    async def names() -> set[str]:
        found = {tool.name for tool in await server.list_tools()}
        found |= {str(each.uri) for each in await server.list_resources()}
        return found | {each.uri_template for each in await server.list_resource_templates()}

    ours = [tool.name for tool in toolkit.tools]
    ours += [each.uri for each in toolkit.resources] + [each.uri_template for each in toolkit.templates]
    theirs = _run(names())
    return [name for name in ours if name in theirs]


def _run(coroutine: Coroutine[object, object, T]) -> T:
    """Run a coroutine of the SDK's to its end, also where a loop is running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def _function(tool: ToolSpec, toolkit: ToolkitLike) -> Callable[..., object]:
    """Return a function with the signature that a high-level server reads a tool's schemas from."""
    name = tool.name

    async def function(context: Context, **arguments: object) -> types.CallToolResult:
        given = _arguments(context, name)
        return sdk_result(await call_tool(toolkit, name, arguments if given is None else given, _progress(context)))

    required = tool.input_schema.get("required", [])
    parameters = [
        Parameter(each, Parameter.KEYWORD_ONLY, annotation=Annotated[object, _Unchecked(schema, each in required)])
        for each, schema in tool.input_schema["properties"].items()
    ]
    output = create_model(f"{name}_answer", __base__=_Output)
    output.our_schema = dict(tool.output_schema)
    return _signed(function, name, parameters, Annotated[types.CallToolResult, output])


def _signed(
    function: Callable[..., object], name: str, parameters: list[Parameter], returns: object = str
) -> Callable[..., object]:
    """Set the name and the signature of a function that a high-level server is to see."""
    for attribute, value in (("__name__", name), ("__signature__", Signature(parameters, return_annotation=returns))):
        setattr(function, attribute, value)
    return function


class _Unchecked:
    """A parameter whose schema is ours and whose value is not checked here: the toolkit does that, in its own words."""

    def __init__(self, schema: JsonSchemaValue, required: bool) -> None:  # noqa: FBT001  # it is what it says
        self._schema = schema
        self._required = required

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept anything, also nothing; what is wrapped counts as required in the schema."""
        anything = core_schema.with_default_schema(core_schema.any_schema(), default_factory=_nothing)
        return core_schema.chain_schema([anything]) if self._required else anything

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return our schema."""
        return dict(self._schema)


def _nothing() -> None:
    """Stand for an argument that was not given."""


class _Output(BaseModel):
    """An answer whose schema is ours."""

    model_config = ConfigDict(extra="allow")
    our_schema: ClassVar[JsonSchemaValue]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return our schema."""
        return dict(cls.our_schema)


def _arguments(context: Context, name: str) -> Mapping[str, object] | None:
    """Return the arguments as they came, also those that the signature does not have; None where none came."""
    try:
        params = context.request_context.params or {}
    except ValueError:  # the tool is called outside of any request
        return None
    return (params.get("arguments") or {}) if params.get("name") == name else None


def _progress(context: Context) -> Progress | None:
    try:
        return context.request_context.session.report_progress
    except ValueError:
        return None


def _reader(toolkit: ToolkitLike, name: str, template: UriTemplate) -> Callable[..., object]:
    """Return a function that reads a kind of resource, with the parameters of its address."""

    async def read(**values: str) -> str:
        try:
            return await toolkit.read(template.expand(values))
        except LookupError as error:
            raise ResourceNotFoundError("there is no such resource") from error

    parameters = [Parameter(each, Parameter.KEYWORD_ONLY, annotation=str) for each in template.variable_names]
    read.__annotations__ = {each.name: str for each in parameters} | {"return": str}
    return _signed(read, name, parameters)
