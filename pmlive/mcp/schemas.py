"""JSON schemas of what is asked and answered, as small as they can be: models read every byte of them."""

from typing import TypeAlias, cast

import msgspec

__all__ = ["Schema", "outline", "schema"]

Schema: TypeAlias = dict[str, object]

# Stands for the schema of what may be anything, which msgspec does not take for one when it is empty.
_ANYTHING: Schema = {"anything": True}
_UNTOLD = ("title", "minLength", "maxLength")


def schema(kind: type[msgspec.Struct]) -> Schema:
    """Make the schema of what is asked."""
    whole = _made(kind)
    properties = {name: _optional(part) for name, part in _properties(whole).items()}
    required = {"required": whole["required"]} if whole["required"] else {}
    return {"type": "object", "properties": properties, **required, "additionalProperties": False}


def outline(kind: type[msgspec.Struct]) -> Schema:
    """Make the schema of an answer: its values and their types."""
    properties = {name: {"type": _types(part)} for name, part in _properties(_made(kind)).items()}
    return {"type": "object", "properties": properties}


def _made(kind: type[msgspec.Struct]) -> Schema:
    (_,), parts = msgspec.json.schema_components([kind], schema_hook=_anything, ref_template="{name}")
    return cast("Schema", _told(parts[kind.__name__]))


def _anything(kind: type) -> Schema:
    if kind is object:
        return _ANYTHING
    raise NotImplementedError


def _told(part: object) -> object:
    """Leave out what says nothing to a reader."""
    if isinstance(part, list):
        return [_told(one) for one in cast("list[object]", part)]
    if not isinstance(part, dict):
        return part
    said = cast("Schema", part)
    told = {name: _told(value) for name, value in said.items() if name not in _UNTOLD and value != _ANYTHING}
    return {"type": "string", **told} if "enum" in said else told


def _properties(whole: Schema) -> dict[str, Schema]:
    return cast("dict[str, Schema]", whole["properties"])


def _optional(said: Schema) -> Schema:
    """Say of what may be null, for it was left out, only what it is otherwise."""
    if said.get("default", ...) is not None:
        return said
    kinds = cast("list[Schema]", said.get("anyOf", [said]))
    (kind,) = (one for one in kinds if one != {"type": "null"})
    values = [value for value in cast("list[object]", kind.get("enum", [])) if value is not None]
    told = kind | {name: value for name, value in said.items() if name not in ("anyOf", "default", "enum")}
    return {name: value for name, value in told.items() if name != "default"} | ({"enum": values} if values else {})


def _types(said: Schema) -> object:
    """Give the type of a value, or its types."""
    if "anyOf" not in said:
        return said["type"]
    kinds = [one["type"] for one in cast("list[Schema]", said["anyOf"])]
    return kinds[0] if len(kinds) == 1 else kinds
