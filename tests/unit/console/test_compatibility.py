"""The packages that the server was tried with: their table, the values that are compared, and the page's rows."""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from gym_http_server.runtime.making.dependencies import WELL_KNOWN
from tests.compatibility import compare, local, results
from tests.compatibility.table import packages

TABLE = packages()


def test_the_table_of_packages_is_well_formed() -> None:
    """At least 25 packages are tried; each has a version and ids, and each that is not tried has the reason."""
    tried = [each for each in TABLE if not each.untried]
    assert len({each.name for each in tried}) >= 25
    assert len({each.title for each in TABLE}) == len({each.slug for each in TABLE}) == len(TABLE)
    for each in tried:
        assert re.fullmatch(r"\d+(\.\d+)+", each.version), each.title
        assert each.ids, each.title
        assert not each.interpreter or (each.python and each.why), each.title
    assert all(not each.ids for each in TABLE if each.untried)


def test_packages_are_imported_and_named_as_the_server_advises() -> None:
    """A well-known package has the import that an error for its ids names, and ids that this error is for."""
    known = {each.requirement.partition(">")[0]: each for each in WELL_KNOWN}
    both = [each for each in TABLE if each.name in known and not each.untried]
    assert len(both) > 10
    for each in both:
        assert each.imports == (known[each.name].source,), each.title
        assert all(re.match(known[each.name].ids, env_id) for env_id in each.ids), each.title


def test_results_are_of_rows_of_the_table() -> None:
    """Each result belongs to a package and to one of its environments, and says when it was found."""
    document = results.stored()
    ids = {each.title: each.ids for each in TABLE}
    for title, row in document["rows"].items():
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"]), title
        assert set(row["environments"]) <= set(ids[title]), title
    assert set(document["together"]["packages"]) <= {each.title for each in TABLE if each.interpreter}


def test_a_result_of_another_version_is_none() -> None:
    """A row whose version has changed since it was tried says that it was not run."""
    [package] = [each for each in TABLE if each.name == "minigrid"]
    rows = results.stored()["rows"]
    assert results.NOT_RUN not in results.text([package], rows)
    assert results.NOT_RUN in results.text([dataclasses.replace(package, version="0.1")], rows)


def test_each_result_that_is_not_the_kept_one_is_told() -> None:
    """Another outcome of any part is told in words, and so is a package, environment or part that was not tried."""
    table = [each for each in TABLE if each.quick]
    kept = results.stored()["rows"]
    assert results.differences(table, kept, kept) == []
    count = sum(len(each.ids) for each in table) * (len(results.PARTS) + 2)
    assert len(results.differences(table, {}, kept)) == len(results.differences(table, {}, {})) == count
    package = table[0]
    for part in (*results.PARTS, "close", "count"):
        rows = copy.deepcopy(kept)
        rows[package.title]["environments"][package.ids[-1]][part] = "another value"
        [text] = results.differences(table, rows, kept)
        assert text.startswith(
            f"{package.title} {package.version}, {package.ids[-1]}, {part}: another value; expected: "
        )
    uninstalled = {**kept, package.title: {"version": package.version, "environments": {}, "problem": "no wheel"}}
    assert {text.split(": ")[1] for text in results.differences(table, uninstalled, kept)} == {"no wheel; expected"}


def test_at_least_eight_packages_are_tried_in_each_run_of_the_gate() -> None:
    """They need no other Python than the gate's."""
    quick = [each for each in TABLE if each.quick]
    assert len(quick) >= 8
    assert not any(each.python or each.interpreter or each.untried for each in quick)


@pytest.mark.parametrize(
    ("here", "there", "text"),
    [
        (np.float32([1, np.nan]), np.float32([1, np.nan]), ""),
        (np.float32([1, 2]), np.float64([1, 2]), "array of float64 instead of array of float32"),
        (np.float32([1, 2]), np.float32([1, 3]), "another value"),
        (np.zeros(2), np.zeros((1, 2)), "another value"),
        (np.float64(1.5), 1.5, "float instead of number of float64"),
        ({"a": 1, "b": (2, "x")}, {"b": [2, "x"], "a": 1}, ""),
        ({"a": 1}, {"a": 1, "b": 2}, "keys ['a', 'b'], locally ['a']"),
        ({"a": (1, 2)}, {"a": (1, 3)}, "a: another value"),
        (None, 0, "another value"),
    ],
)
def test_values_are_compared_to_the_bit(here: object, there: object, text: str) -> None:
    """Values of both sides differ by keys, value or type, whatever they are nested in."""
    forms = [json.loads(json.dumps(local.plain(each))) for each in (here, there)]
    assert compare.difference(*forms) == text
    assert compare.difference(forms[0], local.plain(compare.value_of(forms[0]))) == ""


def test_the_script_of_local_runs_is_python_37() -> None:
    """It runs in the Python of the oldest package."""
    ast.parse(Path(local.__file__).read_text(), feature_version=(3, 7))
