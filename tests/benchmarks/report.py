"""The results as a table for the terminal, as the manual's table, and as JSON."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from . import machine
from .rounds import Result

COLUMNS = ("", "figure", "floor", "ratio", "floor is", "bar", "")


def text(results: Sequence[Result], facts: dict[str, str], rounds: int) -> str:
    """Return the table for a terminal."""
    cells = [COLUMNS, *(row_cells(each) for each in results)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(COLUMNS))]
    lines = [_padded(COLUMNS, widths)]
    for group, its in itertools.groupby(results, lambda each: each.row.group):
        lines += ["", group, *(_padded(row_cells(each), widths) for each in its)]
    return "\n".join([*lines, "", caption(facts, rounds)])


def markdown(results: Sequence[Result], facts: dict[str, str], rounds: int) -> str:
    """Return the manual's table, with the machine below it."""
    return markdown_of(as_json(results, facts, {"rounds": rounds}))


def markdown_of(document: dict[str, Any]) -> str:
    """Return the manual's tables of results that were written as JSON, one a group, with the machine below them."""
    lines = []
    for group, rows in itertools.groupby(document["rows"], lambda row: row["group"]):
        lines += [f"### {group[0].upper()}{group[1:]}", ""]
        lines += ["| What | Figure | Floor | Ratio | Floor is | Bar |", "| --- | ---: | ---: | ---: | --- | --- |"]
        for row in rows:
            *values, bar, verdict = cells(row)
            lines.append(f"| {row['name']} | {' | '.join(values)} | {': '.join(filter(None, (bar, verdict)))} |")
        lines.append("")
    return "\n".join([*lines, caption(document["machine"], document["rounds"])])


def as_json(results: Sequence[Result], facts: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the results for a program: medians, and the figures of every round."""
    return {"machine": facts, **settings, "rows": [_members(each) for each in results]}


def row_cells(result: Result) -> tuple[str, ...]:
    """Return the cells of a row."""
    return (result.row.name, *cells(_members(result)))


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a row of the JSON, without its name."""
    bar = row["bar"] or ""
    if row["figure"] is None:
        return ("", "", "", row["floor_name"], bar, f"not measured: {row['problem'] or ''}")
    verdict = {None: "", True: "reached", False: "not reached"}[row["reached"]]
    if row["errors"]:
        verdict = f"{verdict} ({row['errors']} errors)".strip()
    times = number(row["figure"] / row["floor"]) if row["floor"] > 0 else ""
    figure, floor = (f"{number(value)} {row['unit']}" for value in (row["figure"], row["floor"]))
    return (figure, floor, times, row["floor_name"], bar, verdict)


def number(value: float) -> str:
    """Return a number with about three digits."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def caption(facts: dict[str, str], rounds: int) -> str:
    """Return where and how it was measured."""
    return f"Medians of {rounds} {'round' if rounds == 1 else 'rounds'} on {machine.line(facts)}."


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, figure, floor, times, *rest = cells
    numbers = [each.rjust(width) for each, width in zip((figure, floor, times), widths[1:4], strict=True)]
    words = [each.ljust(width) for each, width in zip(rest, widths[4:], strict=True)]
    return "  ".join(["", name.ljust(widths[0]), *numbers, *words]).rstrip()


def _members(result: Result) -> dict[str, Any]:
    row = result.row
    measured = bool(result.figures)
    return {
        "group": row.group,
        "name": row.name,
        "unit": row.unit,
        "figure": result.figure if measured else None,
        "figures": result.figures,
        "floor_name": row.floor_name,
        "floor": result.floor if measured else None,
        "floors": result.floors,
        "bar": row.bar.text if row.bar is not None else None,
        "reached": result.reached,
        "errors": result.errors,
        "problem": result.problem or None,
    }
