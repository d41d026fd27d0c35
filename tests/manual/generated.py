"""The generated parts of the README and the manual: operations, problems, settings, wrappers, figures and packages, each from its table."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from gym_http_server.api.problems import STATUS, slug_of
from gym_http_server.config import MIB, Settings, option_name, variable_name
from gym_http_server.console.manual.book import FOLDER
from gym_http_server.contract import METHODS, load_contract
from gym_http_server.errors import ConflictError, EnvironmentFailure, GymHttpServerError, StartError, UsageError
from gym_http_server.runtime.making.wrappers import REFUSED, WRAPPERS

from ..benchmarks.report import cells, markdown_of
from ..compatibility import results

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "tests" / "benchmarks" / "figures.json"
DOCUMENTS = (ROOT / "README.md", *sorted(FOLDER.glob("*.md")))
README_FIGURES = {
    "one step of CartPole: process, p50": "one step of CartPole over HTTP, median",
    "one step of CartPole beside servers of other projects: process by raw socket, p50": "the same, beside OpenEnv",
    "CartPole by RemoteVectorEnv: 1,024 lanes, msgpack": "steps of a batch of 1,024",
    "create: process, p50": "making an environment in its own process, median",
}
"""What the README calls some rows of the figures; those that were not measured are left out."""
BASES = (GymHttpServerError, UsageError, ConflictError, EnvironmentFailure)
"""Errors that are only raised as one of their kinds."""
_PART = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def updated(text: str) -> str:
    """Return a document with its generated parts as they are to be."""
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match['name']]().strip()}\n{match[3]}", text)


def operations() -> str:
    """Return for each tag of the contract a table of its operations, and one of the members of each request."""
    contract = load_contract().document
    parts = []
    for tag in contract["tags"]:
        own = [operation for operation in _operations(contract) if tag["name"] in operation[2]["tags"]]
        rows = [
            f"| `{operation['operationId']}` | `{method} {path}` | {operation['summary']}{_hot(operation)} |"
            for path, method, operation in own
        ]
        head = ["| Operation | Request | What it does |", "| --- | --- | --- |"]
        parts.append([f"### {tag['name'].capitalize()}", "", tag["description"].strip(), "", *head, *rows])
        for _, _, operation in own:
            if members := _members(contract, operation):
                head = [f"#### {operation['operationId']}", "", "| Member | Meaning |", "| --- | --- |"]
                parts.append([*head, *(f"| {name} | {meaning} |" for name, meaning in members.items())])
    return "\n\n".join("\n".join(part) for part in parts)


def problems() -> str:
    """Return a table of the statuses of errors: the contract's words, and the names of this project's problems."""
    contract = load_contract().document
    meanings: dict[str, dict[str, None]] = {}
    for _, _, operation in _operations(contract):
        for status, response in operation["responses"].items():
            if status >= "400":
                text = _resolved(contract, response)["description"].strip().split("\n\n")[0]
                meanings.setdefault(status, {})[" ".join(text.split())] = None
    names: dict[str, set[str]] = {}
    for error, status in STATUS.items():
        if not issubclass(error, StartError) and error not in BASES:
            names.setdefault(str(status), set()).add(f"`{slug_of(error)}`")
    for status, name in _http_problems():
        names.setdefault(str(status), set()).add(f"`{name}`")
    rows = [
        f"| {status} | {' '.join(meanings.get(status, (HTTPStatus(int(status)).phrase + '.',)))} | {', '.join(sorted(names.get(status, ())))} |"
        for status in sorted(meanings.keys() | names.keys())
    ]
    return "\n".join(["| Status | Meaning | Names of `type` |", "| --- | --- | --- |", *rows])


def _http_problems() -> set[tuple[int, str]]:
    """Return the status and name of each problem about HTTP itself, from the calls in `api/` and `http1/` that make one."""
    found = set()
    for room in ("api", "http1"):
        for path in (ROOT / "gym_http_server" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(args=[ast.Constant(value=int(status)), ast.Constant(value=str(name)), _, *_]) if (
                        status >= 400
                    ):
                        found.add((status, name))
    return found


def settings() -> str:
    """Return the table of the settings."""
    rows = [
        f"| {_options(each)} | {_text(each)} | {_default(each)} | `{variable_name(each.name)}` |"
        for each in dataclasses.fields(Settings)
    ]
    return "\n".join(["| Option | What it does | Default | Variable |", "| --- | --- | --- | --- |", *rows])


def wrappers() -> str:
    """Return the names of the wrappers, and a table of those that are refused."""
    names = ", ".join(f"`{name}`" for name in WRAPPERS)
    rows = [f"| `{name}` | {reason} |" for name, reason in REFUSED.items() if name != "vector"]
    return "\n".join([names, "", "Refused are:", "", "| Wrapper | Why |", "| --- | --- |", *rows])


def figures() -> str:
    """Return the table of all figures."""
    return markdown_of(json.loads(FIGURES.read_text()))


def readme_figures() -> str:
    """Return the table of a few figures."""
    document = json.loads(FIGURES.read_text())
    rows = {f"{row['group']}: {row['name']}": row for row in document["rows"]}
    lines = ["| What | Figure | Floor | Floor is |", "| --- | ---: | ---: | --- |"]
    for title, name in README_FIGURES.items():
        if (row := rows.get(title)) and row["figure"] is not None:
            figure, floor, _, floor_name, *_ = cells(row)
            lines.append(f"| {name} | {figure} | {floor} | {floor_name} |")
    facts = document["machine"]
    return "\n".join([*lines, "", f"Medians of {document['rounds']} rounds on {facts['cpu']}, {facts['cores']} cores."])


def compatibility() -> str:
    """Return the tables of the packages that were tried."""
    return results.markdown(results.stored())


PARTS: dict[str, Callable[[], str]] = {
    "operations": operations,
    "problems": problems,
    "settings": settings,
    "wrappers": wrappers,
    "figures": figures,
    "compatibility": compatibility,
    "readme-figures": readme_figures,
}
"""What makes each part, by the name in its marker."""


def _operations(contract: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in contract["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method.upper(), operation


def _hot(operation: dict[str, Any]) -> str:
    return " (**hot**)" if operation.get("x-hot-path") else ""


def _members(contract: dict[str, Any], operation: dict[str, Any]) -> dict[str, str]:
    members = {}
    if body := _resolved(contract, operation.get("requestBody")):
        schema = _resolved(contract, next(iter(body["content"].values()))["schema"])
        for name, node in schema["properties"].items():
            shown = f"**`{name}`**" if name in schema.get("required", ()) else f"`{name}`"
            members[shown] = _first_sentence(_description(contract, node))
    for parameter in operation.get("parameters", ()):
        found = _resolved(contract, parameter)
        if found["in"] == "query":
            members[f"`?{found['name']}`"] = _first_sentence(_description(contract, found))
    return members


def _description(contract: dict[str, Any], node: dict[str, Any]) -> str:
    if "description" in node:
        return str(node["description"])
    for inner in (*([node] if "$ref" in node else ()), *node.get("allOf", ())):
        return _description(contract, _resolved(contract, inner))
    return ""


def _first_sentence(text: str) -> str:
    words = " ".join(text.split()).replace("|", "\\|")
    return re.split(r"(?<=[^.][.:]) (?=[A-Z`])", words, maxsplit=1)[0].removesuffix(":")


def _resolved(contract: dict[str, Any], node: Any) -> dict[str, Any]:
    while node and "$ref" in node:
        found: Any = contract
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node or {}


def _options(each: dataclasses.Field[Any]) -> str:
    name = option_name(each.name)
    flags = [flag for flag in each.metadata["flags"] if flag != name]
    # As `cli.py` declares them: a flag that is not off by default has its opposite.
    opposite = [f"--no-{name[2:]}"] if each.default is True or each.default is None else []
    return ", ".join(f"`{option}`" for option in [name, *flags, *opposite])


def _default(each: dataclasses.Field[Any]) -> str:
    value = each.default
    if value is dataclasses.MISSING:
        return "`process`" if each.name == "engine" else ""  # where the platform forks
    if each.name == "handover":
        return "on without a key"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value in ("", ()):
        return ""
    unit = each.metadata["unit"]
    if unit == "bytes" and value and value % MIB == 0:
        return f"{value // MIB} MiB"
    if unit == "s":
        return f"{value / 3600:g} h" if value >= 3600 else f"{value:g} s"
    return f"{value} {unit}" if unit else f"`{value}`"


def _text(each: dataclasses.Field[Any]) -> str:
    choices, text = each.metadata["choices"], each.metadata["text"]
    return text + (f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else "")
