"""JSON Schemas of spaces, from their descriptions in the contract (`Space`), and a model's value as the one that `stepEnv` takes.

Dialect: JSON Schema 2020-12 that older readers understand, too: beside each `prefixItems` stands an `items` that holds for every
item. A schema accepts every member of the space as replies write it: infinities are ±1e100, so such a bound is left out. An
environment may return an observation that is no member, such as one with NaN, which is null.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import InvalidActionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Schema: TypeAlias = "dict[str, Any]"

MAX_LISTED_ITEMS: Final = 64
"""Most items of an array whose schemas are listed one by one; those of a longer one share a schema."""

ALPHANUMERIC: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
"""The characters of a Text whose author named none. Its schema has no pattern, because unless an instance is `strict` it takes
others, too."""

_INFINITY: Final = 1e100


def schema_of(space: Mapping[str, Any], meanings: Sequence[str] = (), names: Sequence[str] = ()) -> Schema:
    """Return the JSON Schema of a space's values.

    Args:
        space: the description of the space.
        meanings: what each value of a Discrete space means; the schema takes these words, too, as `value_of` does.
        names: the names of the elements of a flat array, or of the parts of a Tuple.
    """
    schema = _KINDS.get(space["name"], _opaque)(space)
    if space["name"] == "Discrete" and len(meanings) == space["n"]:
        start = space["start"]
        listed = ", ".join(f"{number}: {meaning}" for number, meaning in enumerate(meanings, start))
        return {"anyOf": [schema, {"type": "string", "enum": list(dict.fromkeys(meanings))}], "description": listed}
    if names and len(names) == len(schema.get("prefixItems", ())):
        described = [{**each, "description": name} for each, name in zip(schema["prefixItems"], names, strict=True)]
        return {**schema, "prefixItems": described}
    if names and len(names) == schema.get("minItems"):
        return {**schema, "description": ", ".join(names)}
    return schema


def value_of(space: Mapping[str, Any], value: Any, meanings: Sequence[str] = ()) -> Any:
    """Return the action that `stepEnv` takes for a model's value.

    Models write values as texts: the meaning of an action, or JSON. Both are read where the space has no texts of its own;
    everything else stays as it is, and the environment checks it.

    Raises:
        InvalidActionError: a text is neither.
    """
    if not isinstance(value, str) or space["name"] not in _KINDS or space["name"] == "Text":
        return value
    word = value.strip().casefold()
    for number, meaning in enumerate(meanings if space["name"] == "Discrete" else (), space.get("start", 0)):
        if meaning.casefold() == word:
            return number
    try:
        return json.loads(value)
    except ValueError:
        expected = f"one of {', '.join(meanings)}, or its number" if meanings else f"JSON of a {space['name']} value"
        raise InvalidActionError(f"the action {value[:100]!r} is a text, expected {expected}") from None


def _discrete(space: Mapping[str, Any]) -> Schema:
    return _integer(space["start"], space["start"] + space["n"] - 1)


def _box(space: Mapping[str, Any]) -> Schema:
    if space["dtype"] == "bool":
        return _nested(space["shape"], [{"type": "boolean"}] * math.prod(space["shape"]))
    if not space["dtype"].startswith("float"):
        return _nested(space["shape"], list(map(_integer, space["low"], space["high"])))
    return _nested(space["shape"], list(map(_number, space["low"], space["high"])))


def _multi_discrete(space: Mapping[str, Any]) -> Schema:
    starts = space.get("start") or [0] * len(space["nvec"])
    ranges = [_integer(start, start + size - 1) for start, size in zip(starts, space["nvec"], strict=True)]
    return _nested(space["shape"], ranges)


def _multi_binary(space: Mapping[str, Any]) -> Schema:
    return _nested(space["shape"], [_integer(0, 1)] * math.prod(space["shape"]))


def _text(space: Mapping[str, Any]) -> Schema:
    characters = space["characters"]
    schema: Schema = {"type": "string", "minLength": space["min_length"], "maxLength": space["max_length"]}
    if frozenset(characters) == ALPHANUMERIC:
        return schema
    if not characters:
        return {**schema, "maxLength": 0}
    escaped = "".join(f"\\{each}" if each in "\\]^-[" else each for each in characters)
    return {**schema, "pattern": f"^[{escaped}]*$"}


def _tuple(space: Mapping[str, Any]) -> Schema:
    return _row([schema_of(part) for part in space["spaces"]])


def _dict(space: Mapping[str, Any]) -> Schema:
    return _object(space, schema_of)


def _sequence(space: Mapping[str, Any]) -> Schema:
    return _batch(space["space"]) if space["stacked"] else {"type": "array", "items": schema_of(space["space"])}


def _graph(space: Mapping[str, Any]) -> Schema:
    properties = {"nodes": _batch(space["node_space"])}
    if "edge_space" in space:
        properties["edges"] = _batch(space["edge_space"])
        properties["edge_links"] = {"type": "array", "items": _row([{"type": "integer", "minimum": 0}] * 2)}
    return {"type": "object", "properties": properties, "required": ["nodes"], "additionalProperties": False}


def _one_of(space: Mapping[str, Any]) -> Schema:
    chosen = [_row([{"const": index}, schema_of(part)]) for index, part in enumerate(space["spaces"])]
    return {"anyOf": chosen, "description": "The index of one of these, and a value of it."}


def _opaque(space: Mapping[str, Any]) -> Schema:
    described = {"description": f"A value of {space['name']}, which its environment checks."}
    if "shape" not in space:
        return described
    kind = {"f": _number(), "b": {"type": "boolean"}}.get(space["dtype"][0], {"type": "integer"})
    return _nested(space["shape"], [kind] * math.prod(space["shape"])) | described


_KINDS: Final[dict[str, Callable[[Mapping[str, Any]], Schema]]] = {
    "Box": _box,
    "Dict": _dict,
    "Discrete": _discrete,
    "Graph": _graph,
    "MultiBinary": _multi_binary,
    "MultiDiscrete": _multi_discrete,
    "OneOf": _one_of,
    "Sequence": _sequence,
    "Text": _text,
    "Tuple": _tuple,
}


def _batch(space: Mapping[str, Any]) -> Schema:
    """Return the schema of a batch of values: a stacked Sequence, the nodes of a Graph."""
    if space["name"] == "Dict":
        return _object(space, _batch)
    if space["name"] == "Tuple":
        return _row([_batch(part) for part in space["spaces"]])
    return {"type": "array", "items": schema_of(space)}


def _object(space: Mapping[str, Any], schema: Callable[[Mapping[str, Any]], Schema]) -> Schema:
    properties = {key: schema(space["spaces"][key]) for key in space["keys"]}
    required = {} if space.get("partial") or not properties else {"required": list(properties)}
    return {"type": "object", "properties": properties, **required, "additionalProperties": False}


def _nested(shape: Sequence[int], elements: list[Schema]) -> Schema:
    """Return the schema of nested lists of a shape, whose elements have these schemas in C order."""
    if not shape:
        return elements[0]
    if len(shape) == 1 and len(elements) <= MAX_LISTED_ITEMS and any(each != elements[0] for each in elements):
        return _row(elements)
    schema = _common(elements)
    for length in reversed(shape):
        schema = {"type": "array", "items": schema, "minItems": length, "maxItems": length}
    return schema


def _row(items: list[Schema]) -> Schema:
    """Return the schema of a list whose items have these schemas."""
    different = {json.dumps(each): each for each in items}
    size = {"minItems": len(items), "maxItems": len(items)}
    if len(different) <= 1:
        return {"type": "array", "items": items[0] if items else {}, **size}
    is_plain = {json.dumps(each.get("type")) for each in items} in ({'"integer"'}, {'"number"'})
    every = _common(items) if is_plain else {"anyOf": list(different.values())}
    return {"type": "array", "prefixItems": items, "items": every, **size}


def _common(elements: Sequence[Schema]) -> Schema:
    """Return the schema of numbers that each lie within one of these."""
    common = {"type": elements[0]["type"]} if elements else {}
    for bound, most in (("minimum", min), ("maximum", max)):
        if elements and all(bound in each for each in elements):
            common[bound] = most(each[bound] for each in elements)
    return common


def _integer(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _number(low: float = -_INFINITY, high: float = _INFINITY) -> Schema:
    bounds = {"minimum": low} if low > -_INFINITY else {}
    return {"type": "number", **bounds, **({"maximum": high} if high < _INFINITY else {})}
