"""The outcomes of trials, `results.json`, and their tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .table import Package, packages

RESULTS = Path(__file__).with_name("results.json")
PARTS = ("steps", "frame", "check_env", "batch")
HEAD = ("Package", "Environment", "Steps", "Frame", "`check_env`", "Batch of 3", "Tried with")
NOT_RUN = "not run"
EQUAL, PASSED, AS_LOCALLY = "equal", "passed", "as locally"
MAX_TEXT = 300
WELL = (EQUAL, PASSED, "no render mode")

_DIRECTORIES = re.compile(r"(?<![\w.:/])(/[\w.+-]+)+/")

Row = dict[str, Any]


def stored(path: Path = RESULTS) -> dict[str, Any]:
    """Return the results of earlier runs: `machine`, `rows` by title of the package, `together`."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def write(document: dict[str, Any], path: Path = RESULTS) -> None:
    """Write results."""
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def differences(table: list[Package], rows: dict[str, Row], expected: dict[str, Row]) -> list[str]:
    """Return in which parts the rows of packages differ from those of an earlier run, in words."""
    return [
        f"{package.title} {package.version}, {env_id}, {part}: {came}; expected: {wanted}"
        for package in table
        for env_id in package.ids
        for part in (*PARTS, "close", "count")
        if (came := _part(rows, package, env_id, part)) != (wanted := _part(expected, package, env_id, part))
        or wanted == NOT_RUN
    ]


def _part(rows: dict[str, Row], package: Package, env_id: str, part: str) -> Any:
    """Return the outcome of one part, or why there is none."""
    row = rows.get(package.title, {"version": ""})
    if row["version"] != package.version:
        return NOT_RUN
    outcome = row["environments"].get(env_id, {})
    return outcome.get(part) or outcome.get("problem") or row.get("problem") or NOT_RUN


def markdown(document: dict[str, Any], table: list[Package] | None = None) -> str:
    """Return the tables of the manual's page."""
    table = packages() if table is None else table
    own = [each for each in table if not each.untried and not each.interpreter]
    others = [each for each in table if each.interpreter and not each.untried]
    together = document["together"]
    lines = ["## In the server's own Python", "", *_table(own, document["rows"])]
    lines += ["", "## In interpreters", ""]
    lines += [
        f"One server had all of these at once on {together['date']}, with an instance of each: {', '.join(together['packages'])}.",
        "",
        *_table(others, document["rows"]),
        "",
        *(f"- {each.title}: {each.why}" for each in others if each.why),
    ]
    lines += ["", "## What differs", "", *(_notes(table, document["rows"]))]
    lines += ["", "## Not tried", "", *(f"- {each.title}: {each.untried}" for each in table if each.untried)]
    return "\n".join([*lines, "", f"Machine: {document['machine']}."])


def text(table: list[Package], rows: dict[str, Row]) -> str:
    """Return the table for a terminal, and what differs below it."""
    cells = [HEAD, *(each for package in table for each in _cells(package, rows.get(package.title)))]
    widths = [max(len(row[at]) for row in cells) for at in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([*lines, "", *_notes(table, rows)]).replace("`", "")


def _table(table: list[Package], rows: dict[str, Row]) -> list[str]:
    cells = [each for package in table for each in _cells(package, rows.get(package.title))]
    return [f"| {' | '.join(row)} |" for row in (HEAD, ("---",) * len(HEAD), *cells)]


def _cells(package: Package, row: Row | None) -> Iterator[tuple[str, ...]]:
    title = f"{package.title} {package.version}".strip()
    for env_id in package.ids:
        if row is None or row["version"] != package.version:
            yield (title, f"`{env_id}`", NOT_RUN, "", "", "", "")
            continue
        tried = f"{row['date']}, Python {row['python']}" if "python" in row else row["date"]
        outcome = row["environments"].get(env_id)
        if outcome is None or "problem" in row or "problem" in outcome:
            yield (title, f"`{env_id}`", "fails, see below", "", "", "", tried)
        else:
            steps, *others = (_cell(outcome[part]) for part in PARTS)
            versions = dict(outcome["versions"])
            if package.library != "gym" and "gymnasium" in versions:
                versions.pop("gym", None)  # it is there for the server
            libraries = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
            steps = f"{outcome['count']} {steps}"
            yield (title, f"`{env_id}`", steps, *others, f"{tried}, {libraries}")


def _cell(outcome: str) -> str:
    if outcome in WELL:
        return outcome
    if outcome.startswith(f"{EQUAL}, "):
        return EQUAL
    return AS_LOCALLY if outcome.startswith(AS_LOCALLY) else "differs"


def _notes(table: list[Package], rows: dict[str, Row]) -> Iterator[str]:
    for package in table:
        row = rows.get(package.title, {})
        if "problem" in row:
            yield f"- {package.title}: {_inline(row['problem'])}"
        for env_id in package.ids:
            outcome = row.get("environments", {}).get(env_id, {})
            if "problem" in outcome:
                yield f"- `{env_id}`: {_inline(outcome['problem'])}"
            parts: dict[str, list[str]] = {}
            for part in (*PARTS, "close"):
                if (found := outcome.get(part, EQUAL)) not in (*WELL, "closed"):
                    parts.setdefault(found, []).append(part)
            yield from (f"- `{env_id}`, {', '.join(names)}: {_inline(found)}" for found, names in parts.items())
        if package.differs:
            yield f"- {package.title}: {package.differs}"


def short(text: str) -> str:
    """Return the text of an error in one line, of bounded length and without directories of this machine."""
    return _DIRECTORIES.sub("", " ".join(text.split()))[:MAX_TEXT]


def _inline(found: str) -> str:
    return f"`{found.replace('`', '')}`" if re.search(r"[_`<*\[|]", found) else found
