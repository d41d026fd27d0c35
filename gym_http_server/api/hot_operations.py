"""The operations of a training loop, compiled from the contract: matching and validating their requests.

These are the operations that the contract marks `x-hot-path: true`. A compiled operation may decline a request that
connexion would accept; it never accepts one that connexion would reject. The server's middleware (`hot_path.py`) and
environments' processes (`handover/`) both read requests with `HotRequest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs

from ..runtime.messages import JSON, MSGPACK
from ..runtime.operations import OPERATIONS
from .call import HOLD_NAME, KEY_NAME, Call, header_patterns
from .content.bodies import parse_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from ..runtime.idempotency import IdempotencyKey
    from .asgi import Scope
    from .handlers import Plan

MARK: Final = "x-hot-path"

MEDIA_TYPES: Final[dict[bytes | None, str]] = {
    None: JSON,
    b"application/json": JSON,
    b"application/json; charset=utf-8": JSON,
    b"application/json;charset=utf-8": JSON,
    b"application/json; charset=UTF-8": JSON,
    b"application/json;charset=UTF-8": JSON,
    b"application/msgpack": MSGPACK,
}
"""Content-Type headers that the hot path accepts."""

NAMES: Final = {operation.operation_id: operation.call for operation in OPERATIONS}
"""The call of an instance for each operationId."""

_METHODS: Final = frozenset(("get", "put", "post", "delete", "options", "head", "patch", "trace"))
_ANNOTATIONS: Final = frozenset(("title", "description", "example", "default", "format"))
_CHECKED: Final = frozenset(
    (
        "type",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "enum",
        "minimum",
        "maximum",
        "nullable",
        "pattern",
    )
)
_FORMATS: Final = frozenset(("int32", "int64", "double", "float", "path"))
"""Formats that connexion's validator ignores, too."""


class NotPlainError(Exception):
    """The request is not plain and valid, so connexion answers it."""


class BodySchema:
    """The compiled schema of a body.

    Args:
        schema: the schema in the contract.
    """

    __slots__ = ("_free", "_is_object", "_required", "_validator")

    def __init__(self, schema: Mapping[str, Any]) -> None:
        properties = schema.get("properties", {})
        self._free = frozenset(name for name, part in properties.items() if not part.keys() & _CHECKED)
        self._required = frozenset(schema.get("required", ()))
        self._is_object = schema.get("type", "object") == "object" and "enum" not in schema
        self._validator = jsonschema_rs.Draft4Validator(draft4(schema))

    def is_valid(self, value: Any) -> bool:
        """Return whether a value is valid."""
        if type(value) is not dict:
            return self._validator.is_valid(value)
        names = value.keys()
        if self._is_object and names <= self._free and names >= self._required:
            return True  # the schema does not constrain any of its members
        # Unconstrained members are not validated: an observation may be large.
        return self._validator.is_valid({key: None if key in self._free else item for key, item in value.items()})


@dataclass(frozen=True, slots=True)
class HotOperation:
    """One compiled operation.

    Attributes:
        operation_id: its operationId.
        call: the call of an instance that it is.
        plan: returns the arguments of that call.
        takes_body: whether the operation declares a body.
        requires_body: whether the body is required.
        ignores_body: whether it declares none and its method allows one, which is then ignored.
        key: pattern of a valid Idempotency-Key; None if the operation takes none.
        hold: pattern of a valid Instance-Hold; None if the operation takes none.
        media_types: accepted media types of the body.
        max_values: maximum number of values in a body.
    """

    operation_id: str
    call: str
    plan: Plan
    takes_body: bool
    requires_body: bool
    ignores_body: bool
    key: re.Pattern[bytes] | None
    hold: re.Pattern[bytes] | None
    media_types: frozenset[str]
    max_values: int
    _schema: BodySchema

    def read(self, content_type: bytes | None, body: bytes) -> Any:
        """Parse and validate a body.

        Raises:
            NotPlainError: the body is not plain and valid.
        """
        if not body:
            if self.requires_body:
                raise NotPlainError
            return None
        media_type = MEDIA_TYPES.get(content_type)
        if media_type is None or media_type not in self.media_types:
            raise NotPlainError
        try:
            value = parse_plain(media_type, body, self.max_values)
            if self._schema.is_valid(value):
                return value
        except ValueError:
            pass
        raise NotPlainError

    def is_valid(self, value: Any) -> bool:
        """Return whether a value is a valid body."""
        return self._schema.is_valid(value)


class HotOperations:
    """All compiled operations.

    Args:
        paths: the paths of the contract, with references resolved.
        plans: the plan of every operation that is a call of an instance, by operationId.
        max_values: maximum number of values in a body.

    Raises:
        ValueError: the schema of a marked operation has an unknown keyword.
    """

    def __init__(self, paths: Mapping[str, Any], plans: Mapping[str, Plan], max_values: int) -> None:
        self._by_suffix: dict[tuple[str, str, str], HotOperation] = {}
        self._by_pattern: list[tuple[str, re.Pattern[str], HotOperation]] = []
        self._prefixes: dict[str, tuple[str, int]] = {}
        self._by_name: dict[str, HotOperation] = {}
        for template, method, operation, parameters in _marked(paths):
            in_path = [each for each in parameters if each["in"] != "header"]
            lengths = {each["name"]: _lengths(each) for each in in_path}
            compiled = _compile(method, operation, plans, header_patterns(parameters), max_values)
            self._by_name[compiled.operation_id] = compiled
            prefix, name, suffix = re.split(r"\{(\w+)\}", template, maxsplit=1)
            if "{" in suffix:
                greedy = {each["name"] for each in in_path if each["schema"].get("format") == "path"}
                self._by_pattern.append((method, _pattern(template, lengths, greedy), compiled))
                continue
            self._prefixes[prefix] = (name, lengths[name][1])
            for each in (suffix.removesuffix("/"), suffix.removesuffix("/") + "/"):
                self._by_suffix[method, prefix, each] = compiled

    def named(self, operation_id: str) -> HotOperation | None:
        """Return the operation with an operationId; None if it is not of the hot path."""
        return self._by_name.get(operation_id)

    def find(self, method: str, path: str) -> tuple[HotOperation, dict[str, Any]] | None:
        """Return the operation for a method and a decoded path, with the path's parameters, or None."""
        if "\n" in path:
            return None  # the normalizer handles it
        for prefix, (name, longest) in self._prefixes.items():
            if path.startswith(prefix):
                start = len(prefix)
                end = path.find("/", start)
                if start < end <= start + longest:
                    operation = self._by_suffix.get((method, prefix, path[end:]))
                    if operation is not None:
                        return operation, {name: path[start:end]}
        for each, pattern, operation in self._by_pattern:
            if each == method and (match := pattern.fullmatch(path)):
                return operation, match.groupdict()
        return None


class HotRequest:
    """The head of a plain request. Equal heads make equal objects, so it can be kept and used again.

    Attributes:
        operation: its operation.
        instance_id: the instance in its path.
        key: its Idempotency-Key; None without one.
        content_type: its Content-Type; None without one.
    """

    __slots__ = ("_accept", "_hold", "_parameters", "content_type", "instance_id", "key", "operation")

    def __init__(
        self,
        operation: HotOperation,
        parameters: Mapping[str, str],
        headers: Iterable[tuple[bytes, bytes]],
        max_body: int,
    ) -> None:
        """Read the headers of a request for an operation.

        Args:
            operation: the operation.
            parameters: the parameters of the path.
            headers: the headers, with names in lower case.
            max_body: maximum size of a body in bytes.

        Raises:
            NotPlainError: an unexpected, compressed or too long body; a repeated Content-Type, key or hold; an invalid key or
                hold.
        """
        accept: str | None = None
        content_type: bytes | None = None
        key: str | None = None
        hold: str | None = None
        has_body = operation.takes_body or operation.ignores_body
        for name, value in headers:
            if name == b"content-type":
                if content_type is not None:
                    raise NotPlainError
                content_type = value
            elif name == b"accept":
                accept = value.decode("latin-1") if accept is None else f"{accept}, {value.decode('latin-1')}"
            elif name == b"content-length":
                if not has_body or int(value) > max_body:  # the parser lets only digits pass
                    raise NotPlainError
            elif name == b"content-encoding" or (not has_body and name == b"transfer-encoding"):
                raise NotPlainError
            elif name == KEY_NAME and operation.key is not None:
                if key is not None or operation.key.fullmatch(value) is None:
                    raise NotPlainError
                key = value.decode("latin-1")
            elif name == HOLD_NAME and operation.hold is not None:
                if hold is not None or operation.hold.fullmatch(value) is None:
                    raise NotPlainError
                hold = value.decode("latin-1")
        self.operation = operation
        self.content_type = content_type
        self.key = key
        self._accept = accept
        self._hold = hold
        self._parameters = dict(parameters)
        self.instance_id = self._parameters.pop("instance_id")

    def read(self, body: bytes) -> Any:
        """Parse and validate the body; None if the operation takes none.

        Raises:
            NotPlainError: the body is not plain and valid.
        """
        operation = self.operation
        return operation.read(self.content_type, body) if operation.takes_body else None

    def arguments(self, value: Any, identity: IdempotencyKey | None, scope: Scope) -> dict[str, Any]:
        """Return the arguments of the instance's call `operation.call`.

        Args:
            value: the result of `read`.
            identity: identity of the request, from its key.
            scope: the ASGI scope.

        Raises:
            InvalidValueError: a value is not possible.
        """
        call = Call(self._accept, identity, scope, self._hold)
        if self.operation.takes_body:
            return self.operation.plan(call, body=value, **self._parameters)
        return self.operation.plan(call, **self._parameters)


def hot_paths(paths: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the contract's resolved paths that is compiled here, as plain JSON values."""
    parts = ("operationId", "requestBody", MARK)
    found: dict[str, Any] = {}
    for template, method, operation, parameters in _marked(paths):
        kept = {name: operation[name] for name in parts if name in operation}
        found.setdefault(template, {})[method.lower()] = {**kept, "parameters": parameters}
    return found


def _marked(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any], list[Mapping[str, Any]]]]:
    for template, item in paths.items():
        for method in _METHODS & item.keys():
            if item[method].get(MARK):
                yield (
                    template,
                    method.upper(),
                    item[method],
                    [
                        *item.get("parameters", ()),
                        *item[method].get("parameters", ()),
                    ],
                )


def _compile(
    method: str,
    operation: Mapping[str, Any],
    plans: Mapping[str, Plan],
    headers: Mapping[bytes, re.Pattern[bytes]],
    max_values: int,
) -> HotOperation:
    operation_id = operation["operationId"]
    body = operation.get("requestBody")
    content = body["content"] if body else {}
    schemas = [each["schema"] for each in content.values()]
    if any(schema != schemas[0] for schema in schemas):
        raise ValueError(f"{operation_id}: the media types of the body have different schemas")
    return HotOperation(
        operation_id,
        NAMES[operation_id],
        plans[operation_id],
        takes_body=body is not None,
        requires_body=bool(body and body.get("required", False)),
        ignores_body=body is None and method != "GET",
        key=headers.get(KEY_NAME),
        hold=headers.get(HOLD_NAME),
        media_types=frozenset(content),
        max_values=max_values,
        _schema=BodySchema(schemas[0] if schemas else {}),
    )


def draft4(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an OpenAPI 3.0 schema to JSON Schema draft 4, in which null is a type.

    Raises:
        ValueError: the schema has an unknown keyword or format.
    """
    unknown = schema.keys() - _CHECKED - _ANNOTATIONS
    if unknown or schema.get("format", "int64") not in _FORMATS:
        raise ValueError(f"a schema of the hot path has what is not compiled: {sorted(unknown) or schema['format']}")
    made = {key: value for key, value in schema.items() if key in _CHECKED and key != "nullable"}
    if schema.get("nullable") and "type" in made:
        made["type"] = [made["type"], "null"]
    if schema.get("nullable") and "enum" in made:
        made["enum"] = [*made["enum"], None]
    if "properties" in made:
        made["properties"] = {name: draft4(part) for name, part in made["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = draft4(made[name])
    return made


def _lengths(parameter: Mapping[str, Any]) -> tuple[int, int]:
    schema = parameter["schema"]
    known = {"type", "minLength", "maxLength"} | _ANNOTATIONS
    if parameter["in"] != "path" or schema["type"] != "string" or schema.keys() - known:
        raise ValueError(f"the parameter {parameter['name']!r} of a hot operation is not a plain text in the path")
    # A path cannot contain an empty parameter.
    return max(1, schema.get("minLength", 1)), schema.get("maxLength", 1 << 16)


def _pattern(template: str, lengths: Mapping[str, tuple[int, int]], greedy: AbstractSet[str]) -> re.Pattern[str]:
    text = ""
    for index, part in enumerate(re.split(r"\{(\w+)\}", template.removesuffix("/"))):
        if index % 2 == 0:
            text += re.escape(part)
            continue
        least, most = lengths[part]
        # `format: path` allows slashes, except a final one. A dot matches no newline, which is not plain.
        one, lazy = (".", "?") if part in greedy else (r"[^/\n]", "")
        text += f"(?P<{part}>{one}{{{least},{most}}}{lazy})"
    return re.compile(f"{text}/?")
