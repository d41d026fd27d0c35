"""The contract: the OpenAPI document, read once, and the paths and operations compiled from it.

Format: OpenAPI 3.0.3, https://spec.openapis.org/oas/v3.0.3. Path templates as in RFC 6570 level 1, but a parameter of
`format: path` also takes slashes.

Code generators shape how the document is written (`tests/languages/test_*.py` use clients in eleven languages):

- An enumeration is written where it is used. As a named schema it becomes Go constants without a prefix, and two
  enumerations that both have `auto` do not compile.
- A property that is a model is an `allOf` of one reference, with a description beside it: TypeScript, Go and Java drop the
  description of a bare reference.
- The items of a list or map that is a named schema are named schemas, too.
- A closed reply says `additionalProperties: false`; otherwise TypeScript accepts any member. The empty object is
  `maxProperties: 0` with open members, because Python has no type for an object without members.
- Every other object of a reply says `additionalProperties: true`. Otherwise generated Go refuses unknown members, and a reply
  could not gain one without breaking clients.
- Each operation names `Problem` for every error status, which gives Go and Python a typed error.
- The body of a link is one expression: the generator refuses an object of expressions.
- An optional property has no `default`, because openapi-typescript then requires it in requests; its description names the
  default.
- `nullable` stands only beside a `type` (`redocly lint`). A schema without a type already allows null (OpenAPI 3.0.3).

What remains: nearly all warnings of Rust's generator concern names that it makes of media types, the others the keywords `type` and `return`,
none of them visible in the code. Rust's client has no null in lists and maps, so it cannot read a NaN reward of a batch. R's
client sends an unset optional header as NULL, and R's and Perl's look for a class of values without a type.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_SERVER_URL = re.compile(rb"(^servers:\n +- url: ).*$", re.MULTILINE)

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@dataclass(frozen=True, slots=True)
class PathItem:
    """One path of the contract.

    Attributes:
        template: the path as the contract writes it.
        pattern: matches a decoded path, with or without its final slash, and names the parameters.
        operations: the operations by upper-case method.
    """

    template: str
    pattern: re.Pattern[str]
    operations: dict[str, dict[str, Any]]

    @property
    def methods(self) -> list[str]:
        """The allowed methods in upper case, sorted; HEAD is allowed with GET."""
        return sorted({*self.operations, *(("HEAD",) if "GET" in self.operations else ())})

    def operation(self, method: str) -> dict[str, Any] | None:
        """Return the operation of a method, or None; HEAD is GET without content (RFC 9110, 9.3.2)."""
        return self.operations.get("GET" if method == "HEAD" else method)

    def canonical(self, match: re.Match[str]) -> str:
        """Return the path of `match` with the template's final slash or without."""
        return re.sub(r"\{(\w+)\}", lambda name: match[name[1]], self.template)


@dataclass(frozen=True, slots=True)
class Contract:
    """The document and its compiled paths.

    Attributes:
        document: the parsed document.
        text: the bytes of the file, served verbatim.
        paths: the paths, sorted by number of parameters.
    """

    document: dict[str, Any]
    text: bytes
    paths: tuple[PathItem, ...]

    @property
    def json(self) -> bytes:
        """The document as JSON."""
        return self.json_at("")

    def json_at(self, root_path: str) -> bytes:
        """Return the document as JSON, for a server under `root_path`."""
        [server] = self.document["servers"]
        document = {**self.document, "servers": [{**server, "url": root_path or server["url"]}]}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    def yaml_at(self, root_path: str) -> bytes:
        """Return the document as YAML, for a server under `root_path`: the text with one line changed."""
        if not root_path:
            return self.text
        return _SERVER_URL.sub(lambda line: line[1] + root_path.encode(), self.text, count=1)

    def match(self, path: str) -> tuple[PathItem, str] | None:
        """Return the path item of a decoded path and the canonical path, or None."""
        for item in self.paths:
            match = item.pattern.fullmatch(path)
            if match is not None:
                return item, item.canonical(match)
        return None

    def body_types(self, operation: dict[str, Any]) -> list[str]:
        """Return the media types of an operation's request body, the default first; empty without a body."""
        return list(resolve(self.document, operation.get("requestBody", {})).get("content", {}))

    def resolved_paths(self) -> dict[str, Any]:
        """Return the document's paths with all local `$ref` replaced by their targets."""
        resolved: dict[str, Any] = _resolved(self.document, self.document["paths"])
        return resolved

    def operations(self) -> list[dict[str, Any]]:
        """Return every operation, in the order of the document."""
        return [
            operation
            for item in self.document["paths"].values()
            for method, operation in item.items()
            if method in METHODS
        ]


def document_path() -> Path:
    """Return the document's path: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).parent
    inside = package / "openapi" / "openapi.yaml"
    return inside if inside.is_file() else package.parent / "openapi" / "openapi.yaml"


@functools.cache
def load_contract() -> Contract:
    """Return the contract; it is read and compiled once."""
    text = document_path().read_bytes()
    # The C loader, if PyYAML has it, is ten times as fast.
    document = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- both are safe
    items = [_path_item(document, template, item) for template, item in document["paths"].items()]
    return Contract(document, text, tuple(sorted(items, key=lambda item: item.template.count("{"))))


def resolve(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return the target of a local `$ref`, or `value` itself."""
    while "$ref" in value:
        pointer = value["$ref"].removeprefix("#/").split("/")
        value = functools.reduce(lambda node, key: node[key], pointer, document)
    return value


def _resolved(document: dict[str, Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _resolved(document, item) for name, item in resolve(document, value).items()}
    return [_resolved(document, item) for item in value] if isinstance(value, list) else value


def _path_item(document: dict[str, Any], template: str, item: dict[str, Any]) -> PathItem:
    operations = {method.upper(): operation for method, operation in item.items() if method in METHODS}
    shared = item.get("parameters", [])
    parameters = [
        resolve(document, parameter)
        for operation in operations.values()
        for parameter in [*shared, *operation.get("parameters", [])]
    ]
    greedy = {
        parameter["name"] for parameter in parameters if resolve(document, parameter["schema"]).get("format") == "path"
    }
    names = re.split(r"\{(\w+)\}", template.removesuffix("/"))
    pattern = "".join(
        re.escape(part) if index % 2 == 0 else f"(?P<{part}>{'.+?' if part in greedy else '[^/]+'})"
        for index, part in enumerate(names)
    )
    return PathItem(template, re.compile(pattern + "/?", re.DOTALL), operations)
