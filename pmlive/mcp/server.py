"""The SDK's server of one toolkit, which answers all requests, in both protocol eras."""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import TypeAlias, TypeVar

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError

from pmlive.logs import get_logger
from pmlive.mcp.notifications import LegacySession, Notifier, notifying
from pmlive.mcp.specs import (
    INTERNAL_ERROR,
    NAME,
    TITLE,
    VERSION,
    Caller,
    Progress,
    PromptSpec,
    ToolkitLike,
    ToolResult,
    ToolSpec,
)

__all__ = ["build_server", "call_tool", "sdk_result", "sdk_tool"]

logger = get_logger(__name__)

# What is listed changes with the program only; what is read, at any time.
_LISTED = CacheHint(ttl_ms=3_600_000, scope="public")
_READ = CacheHint(ttl_ms=0, scope="private")

# A client that watches more than this is not looking at any of them.
_MOST_WATCHED = 1_000

Context: TypeAlias = ServerRequestContext[Notifier]
P = TypeVar("P")
R = TypeVar("R")


def build_server(toolkit: ToolkitLike) -> Server[Notifier]:
    """Return a server that answers with a toolkit, and notifies of changes for as long as it runs."""
    bus = InMemorySubscriptionBus()
    handlers = _RequestHandlers(toolkit)
    schemas = {tool.name: dict(tool.input_schema) for tool in toolkit.tools}
    server = Server[Notifier](
        NAME,
        version=VERSION,
        title=TITLE,
        instructions=toolkit.instructions,
        cache_hints={
            "tools/list": _LISTED,
            "prompts/list": _LISTED,
            "resources/list": _LISTED,
            "resources/templates/list": _LISTED,
            "resources/read": _READ,
        },
        lifespan=lambda _: notifying(toolkit.listen, bus),
        get_tool_input_schema=schemas.get,
        on_list_tools=_guarded(handlers.tools),
        on_call_tool=_guarded(handlers.call),
        on_list_resources=_guarded(handlers.resources),
        on_list_resource_templates=_guarded(handlers.templates),
        on_read_resource=_guarded(handlers.read),
        on_list_prompts=_guarded(handlers.prompts),
        on_get_prompt=_guarded(handlers.prompt),
        on_subscriptions_listen=ListenHandler(bus),
    )
    _add_legacy_handlers(server)
    return server


def sdk_tool(spec: ToolSpec) -> types.Tool:
    """Return a tool as the protocol lists it."""
    return types.Tool(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        input_schema=dict(spec.input_schema),
        output_schema=dict(spec.output_schema),
        annotations=types.ToolAnnotations(
            title=spec.title,
            read_only_hint=spec.read_only,
            destructive_hint=spec.destructive,
            idempotent_hint=spec.idempotent,
            open_world_hint=spec.open_world,
        ),
    )


def sdk_result(result: ToolResult) -> types.CallToolResult:
    """Return a result as the protocol carries it: the object, and the same in text."""
    return types.CallToolResult(
        content=[types.TextContent(text=result.text)],
        structured_content=result.structured,
        is_error=result.failed,
    )


async def call_tool(
    toolkit: ToolkitLike,
    name: str,
    arguments: Mapping[str, object],
    progress: Progress | None,
    *,
    client: Caller | None = None,
) -> ToolResult:
    """Call a tool; an internal error is a failure, too, and described in the log alone.

    Raises:
        LookupError: there is no such tool.
    """
    if all(tool.name != name for tool in toolkit.tools):
        raise LookupError("there is no such tool; tools/list names them")
    try:
        return await toolkit.call(name, arguments, progress, client=client)
    except Exception:
        logger.exception("a tool failed")
        return ToolResult(structured=None, text=INTERNAL_ERROR, failed=True)


class _RequestHandlers:
    """Handlers of the requests of both eras."""

    def __init__(self, toolkit: ToolkitLike) -> None:
        self._toolkit = toolkit

    async def tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        del context
        _refuse_page(params)
        return types.ListToolsResult(tools=[sdk_tool(each) for each in self._toolkit.tools])

    async def call(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        progress, client = context.session.report_progress, _client(context)
        try:
            result = await call_tool(self._toolkit, params.name, params.arguments or {}, progress, client=client)
        except LookupError as error:
            raise _invalid(str(error)) from error
        return sdk_result(result)

    async def resources(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        del context
        _refuse_page(params)
        return types.ListResourcesResult(
            resources=[
                types.Resource(
                    uri=each.uri,
                    name=each.name,
                    title=each.title,
                    description=each.description,
                    mime_type=each.mime_type,
                )
                for each in self._toolkit.resources
            ]
        )

    async def templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        del context
        _refuse_page(params)
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=each.uri_template,
                    name=each.name,
                    title=each.title,
                    description=each.description,
                    mime_type=each.mime_type,
                )
                for each in self._toolkit.templates
            ]
        )

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        del context
        try:
            text = await self._toolkit.read(params.uri)
        except LookupError as error:
            # The one place where what was given is repeated: the protocol wants the address beside the message.
            message = "there is no such resource; resources/list and resources/templates/list name them"
            raise MCPError(types.INVALID_PARAMS, message, {"uri": params.uri}) from error
        content = types.TextResourceContents(uri=params.uri, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[content])

    async def prompts(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        del context
        _refuse_page(params)
        return types.ListPromptsResult(prompts=[_sdk_prompt(each) for each in self._toolkit.prompts])

    async def prompt(self, context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        del context
        try:
            text = self._toolkit.prompt(params.name, params.arguments or {})
        except LookupError as error:
            raise _invalid("there is no such prompt; prompts/list names them") from error
        except ValueError as error:
            raise _invalid(str(error)) from error
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(messages=[message])


def _add_legacy_handlers(server: Server[Notifier]) -> None:
    """Handle what only clients of the older era ask for: to watch resources, and log messages."""

    async def watch(context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        session = _session(context)
        if len(session.uris) >= _MOST_WATCHED:
            raise _invalid(f"{_MOST_WATCHED} resources are watched already; unsubscribe from some")
        session.uris.add(params.uri)
        return types.EmptyResult()

    async def unwatch(context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        _session(context).unwatch(params.uri)
        return types.EmptyResult()

    async def level(context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        _session(context).level = params.level
        return types.EmptyResult()

    async def initialized(context: Context, params: types.NotificationParams) -> None:
        del params
        _client(context)

    server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, _guarded(watch))
    server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, _guarded(unwatch))
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _guarded(level))
    server.add_notification_handler("notifications/initialized", types.NotificationParams, initialized)


def _session(context: Context) -> LegacySession:
    return context.lifespan_context.session(context.session)


def _client(context: Context) -> Caller | None:
    """Return who calls; requests of the newer era belong to nobody's session."""
    return _session(context).client if context.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS else None


def _guarded(handler: Callable[[Context, P], Awaitable[R]]) -> Callable[[Context, P], Awaitable[R]]:
    """Log what nobody expected, and tell the client only that it happened; the SDK would send it the text."""

    @wraps(handler)
    async def guarded(context: Context, params: P) -> R:
        try:
            return await handler(context, params)
        except (MCPError, ValidationError):
            raise
        except Exception as error:
            logger.exception("a request failed")
            raise MCPError(types.INTERNAL_ERROR, INTERNAL_ERROR) from error

    return guarded


def _sdk_prompt(spec: PromptSpec) -> types.Prompt:
    return types.Prompt(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        arguments=[
            types.PromptArgument(name=each.name, description=each.description, required=each.required)
            for each in spec.arguments
        ],
    )


def _refuse_page(params: types.PaginatedRequestParams | None) -> None:
    """Refuse any page but the first; lists come whole."""
    if params is not None and params.cursor is not None:
        raise _invalid("there is no such cursor; lists come whole")


def _invalid(message: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, message)
