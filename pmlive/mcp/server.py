"""The server of the SDK for one toolkit: what a client may ask is answered by the toolkit, in both protocol eras."""

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
from pmlive.mcp.card import NAME, TITLE, VERSION
from pmlive.mcp.described import Answer, Client, Described, Kit, Progress, PromptDescribed
from pmlive.mcp.pushes import Pushes, Session, pushing

__all__ = ["FAULT", "called", "result_of", "server", "tool_of"]

logger = get_logger(__name__)

FAULT = "The server failed at this by a fault of its own, which its log tells of. Ask for something else."

# What is listed changes with the program only; what is read, at any time.
_LISTED = CacheHint(ttl_ms=3_600_000, scope="public")
_READ = CacheHint(ttl_ms=0, scope="private")

# A client that watches more than this is not looking at any of them.
_MOST_WATCHED = 1_000

Context: TypeAlias = ServerRequestContext[Pushes]
P = TypeVar("P")
R = TypeVar("R")


def server(toolkit: Kit) -> Server[Pushes]:
    """Make a server that answers with a toolkit; it tells of changes for as long as it runs."""
    bus = InMemorySubscriptionBus()
    asked = _Asked(toolkit)
    schemas = {tool.name: tool.input_schema for tool in toolkit.tools}
    made = Server[Pushes](
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
        lifespan=lambda _: pushing(toolkit.listen, bus),
        get_tool_input_schema=schemas.get,
        on_list_tools=_guarded(asked.tools),
        on_call_tool=_guarded(asked.call),
        on_list_resources=_guarded(asked.resources),
        on_list_resource_templates=_guarded(asked.templates),
        on_read_resource=_guarded(asked.read),
        on_list_prompts=_guarded(asked.prompts),
        on_get_prompt=_guarded(asked.prompt),
        on_subscriptions_listen=ListenHandler(bus),
    )
    _serve_sessions(made)
    return made


def tool_of(described: Described) -> types.Tool:
    """Give a tool as the protocol lists it."""
    return types.Tool(
        name=described.name,
        title=described.title,
        description=described.description,
        input_schema=described.input_schema,
        output_schema=described.output_schema,
        annotations=types.ToolAnnotations(
            title=described.title,
            read_only_hint=described.read_only,
            destructive_hint=described.destructive,
            idempotent_hint=described.idempotent,
            open_world_hint=described.open_world,
        ),
    )


def result_of(answer: Answer) -> types.CallToolResult:
    """Give an answer as the protocol carries it: the object, and the same in text."""
    return types.CallToolResult(
        content=[types.TextContent(text=answer.text)],
        structured_content=answer.structured,
        is_error=answer.failed,
    )


async def called(
    toolkit: Kit,
    name: str,
    arguments: Mapping[str, object],
    progress: Progress | None,
    *,
    client: Client | None = None,
) -> Answer:
    """Call a tool; a fault of ours is a failure, too, and told in the log alone.

    Raises:
        LookupError: there is no such tool.
    """
    if all(tool.name != name for tool in toolkit.tools):
        raise LookupError("there is no such tool; tools/list names them")
    try:
        return await toolkit.call(name, arguments, progress, client=client)
    except Exception:
        logger.exception("a tool failed")
        return Answer(structured=None, text=FAULT, failed=True)


class _Asked:
    """What clients of both eras ask for."""

    def __init__(self, toolkit: Kit) -> None:
        self._toolkit = toolkit

    async def tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        del context
        _refuse_page(params)
        return types.ListToolsResult(tools=[tool_of(each) for each in self._toolkit.tools])

    async def call(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        progress, client = context.session.report_progress, _client(context)
        try:
            answer = await called(self._toolkit, params.name, params.arguments or {}, progress, client=client)
        except LookupError as error:
            raise _refused(str(error)) from error
        return result_of(answer)

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
            # The one place where what was asked is said again: the protocol wants the address beside the message.
            message = "there is no such resource; resources/list and resources/templates/list name them"
            raise MCPError(types.INVALID_PARAMS, message, {"uri": params.uri}) from error
        content = types.TextResourceContents(uri=params.uri, mime_type="application/json", text=text)
        return types.ReadResourceResult(contents=[content])

    async def prompts(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        del context
        _refuse_page(params)
        return types.ListPromptsResult(prompts=[_prompt_of(each) for each in self._toolkit.prompts])

    async def prompt(self, context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        del context
        try:
            text = self._toolkit.prompt(params.name, params.arguments or {})
        except LookupError as error:
            raise _refused("there is no such prompt; prompts/list names them") from error
        except ValueError as error:
            raise _refused(str(error)) from error
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(messages=[message])


def _serve_sessions(made: Server[Pushes]) -> None:
    """Serve what only clients of the older era ask for: to be told of resources, and log messages."""

    async def watch(context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        session = _session(context)
        if len(session.uris) >= _MOST_WATCHED:
            raise _refused(f"{_MOST_WATCHED} resources are watched already; unsubscribe from some")
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

    made.add_request_handler("resources/subscribe", types.SubscribeRequestParams, _guarded(watch))
    made.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, _guarded(unwatch))
    made.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _guarded(level))
    made.add_notification_handler("notifications/initialized", types.NotificationParams, initialized)


def _session(context: Context) -> Session:
    return context.lifespan_context.session(context.session)


def _client(context: Context) -> Client | None:
    """Tell who asks; requests of the newer era belong to nobody's session."""
    return _session(context).client if context.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS else None


def _guarded(handler: Callable[[Context, P], Awaitable[R]]) -> Callable[[Context, P], Awaitable[R]]:
    """Tell of what nobody expected in the log, and to the client that it happened; the SDK would tell it the text."""

    @wraps(handler)
    async def guarded(context: Context, params: P) -> R:
        try:
            return await handler(context, params)
        except (MCPError, ValidationError):
            raise
        except Exception as error:
            logger.exception("a request failed")
            raise MCPError(types.INTERNAL_ERROR, FAULT) from error

    return guarded


def _prompt_of(described: PromptDescribed) -> types.Prompt:
    return types.Prompt(
        name=described.name,
        title=described.title,
        description=described.description,
        arguments=[
            types.PromptArgument(name=each.name, description=each.description, required=each.required)
            for each in described.arguments
        ],
    )


def _refuse_page(params: types.PaginatedRequestParams | None) -> None:
    """Refuse any page but the first; lists come whole."""
    if params is not None and params.cursor is not None:
        raise _refused("there is no such cursor; lists come whole")


def _refused(message: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, message)
