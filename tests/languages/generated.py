"""What is written in a generated client: its methods, its models, and what it says of each property."""

from __future__ import annotations

import ast
import html
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gym_http_server.conformity.contract import DOCUMENT
from gym_http_server.contract import resolve

FLAGS = re.MULTILINE | re.DOTALL

Documentation = dict[str, dict[str, str]]
"""What is said of each property, by model and property; the property is named as in the contract."""


def camel(name: str) -> str:
    """Return a name such as `env_id` as `envId`."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def plain(text: str) -> str:
    """Return what a comment says, without its form."""
    return " ".join(html.unescape(re.sub(r"^\s*(?:\*|//)", " ", text, flags=re.MULTILINE)).split())


def _sources(client: Path, files: str) -> Iterator[str]:
    yield from (path.read_text() for path in sorted(client.glob(files)))


def _found(client: Path, files: str, pattern: str) -> Iterator[Any]:
    return itertools.chain.from_iterable(re.findall(pattern, text, FLAGS) for text in _sources(client, files))


def python_methods(client: Path) -> set[str]:
    names = _found(client, "openapi_client/api/*_api.py", r"^    def ([a-z]\w+)\(")
    return {camel(name) for name in names if not name.endswith(("_with_http_info", "_without_preload_content"))}


def ts_methods(client: Path) -> set[str]:
    names = _found(client, "apis/*Api.ts", r"^    async (\w+)\(")
    return {name for name in names if not name.endswith(("Raw", "RequestOpts"))}


def go_methods(client: Path) -> set[str]:
    names = _found(client, "api_*.go", r"^func \(a \*\w+APIService\) (\w+)\(ctx ")
    return {name[0].lower() + name[1:] for name in names}


def java_methods(client: Path) -> set[str]:
    names = _found(client, "src/main/java/**/api/*Api.java", r"^  public [^=(]+ (\w+)\([^\n]*throws ApiException")
    return {name for name in names if not name.endswith("WithHttpInfo")} - {"downloadFileFromResponse"}


METHODS: dict[str, Callable[[Path], set[str]]] = {
    "python": python_methods,
    "ts": ts_methods,
    "go": go_methods,
    "java": java_methods,
}
"""The methods of a client by language; `create_env` and `CreateEnv` are `createEnv`."""


MODELS = {
    "python": "openapi_client/models/*.py",
    "ts": "models/*.ts",
    "go": "model_*.go",
    "java": "src/main/java/**/model/*.java",
}
"""The files of a client's models by language."""


def models(language: str, client: Path) -> set[str]:
    """Return the names of a client's models, in small letters."""
    names = {path.stem.removeprefix("model_").replace("_", "").lower() for path in client.glob(MODELS[language])}
    return names - {"", "init", "index", "abstractopenapischema"}


def contract_documentation() -> Documentation:
    """Return what the contract says of the properties of each schema that has some."""
    told: Documentation = {}
    for name, schema in DOCUMENT["components"]["schemas"].items():
        parts = [resolve(DOCUMENT, part) for part in schema.get("allOf", [schema])]
        properties = {key: value for part in parts for key, value in part.get("properties", {}).items()}
        if properties:
            told[name] = {key: plain(resolve(DOCUMENT, value)["description"]) for key, value in properties.items()}
    return told


def python_documentation(client: Path) -> Documentation:
    modules = [ast.parse(text) for text in _sources(client, "openapi_client/models/*.py")]
    models = [node for module in modules for node in module.body if isinstance(node, ast.ClassDef)]
    return {model.name: fields for model in models if (fields := dict(_python_fields(model)))}


def _python_fields(model: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field in model.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.value, ast.Call):
            said = {keyword.arg: keyword.value for keyword in field.value.keywords}
            name = said.get("alias", ast.Constant(field.target.id))
            yield name.value, plain(said["description"].value) if "description" in said else ""


def ts_documentation(client: Path) -> Documentation:
    names = {camel(name): name for properties in contract_documentation().values() for name in properties}
    return {
        model: {
            # A word of the language, such as `return`, has an underscore before it.
            names[name.removeprefix("_")]: plain(said)
            for said, name in re.findall(r"^    /\*\*(.*?)\*/\n    (\w+)\??:", body, FLAGS)
        }
        for model, body in _found(client, "models/*.ts", r"^export interface (\w+) \{\n(.*?)^\}")
    }


def go_documentation(client: Path) -> Documentation:
    told: Documentation = {}
    for model, body in _found(client, "model_*.go", r"^type (\w+) struct \{\n(.*?)^\}"):
        fields = re.findall(r"((?:^\t//[^\n]*\n)*)^\t\w+ [^\n]*`json:\"(\w+)", body, FLAGS)
        if fields:
            told[model] = {name: plain(said) for said, name in fields}
    return told


def java_documentation(client: Path) -> Documentation:
    told: Documentation = {}
    getter = r"/\*\*((?:(?!\*/).)*?)\*/\n(?:  @[^\n]*\n)*?  @JsonProperty\(value = JSON_PROPERTY_(\w+)"
    for model, body in _found(client, "src/main/java/**/model/*.java", r"^public class (\w+) \{\n(.*?)^\}"):
        names = dict(re.findall(r"JSON_PROPERTY_(\w+) = \"(\w+)\"", body))
        # The generator adds lines of its own to what the contract says.
        said = {
            names[name]: re.sub(r"\* (?:@return|(?:min|max)imum:)[^\n]*", "*", text)
            for text, name in re.findall(getter, body, FLAGS)
        }
        told[model] = {name: plain(text) for name, text in said.items()}
    return told


DOCUMENTATION: dict[str, Callable[[Path], Documentation]] = {
    "python": python_documentation,
    "ts": ts_documentation,
    "go": go_documentation,
    "java": java_documentation,
}
"""What a client says of its models' properties, by language."""
