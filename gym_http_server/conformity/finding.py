"""`Finding`: a defect with its description and a curl command that reproduces it."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests
from hypothesis.errors import HypothesisException
from schemathesis.core.failures import Failure

from .exchange import Nonconformity
from .session import exchange_of

if TYPE_CHECKING:
    from .plugin import ResultRow

MAX_ROW_FINDINGS = 3
LAST_FRAMES = 2

_SCHEMA = re.compile(r"\n\n(Validated against|Schema at) .*", re.DOTALL)
"""What schemathesis has after the point; the contract has it, too."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was wrong.

    Attributes:
        row: which check found it.
        kind: the same for what is told once.
        text: what was expected, and what came.
        command: the curl command that shows it, or nothing.
    """

    row: ResultRow
    kind: str
    text: str
    command: str = ""


def findings_of(error: BaseException, row: ResultRow) -> list[Finding]:
    """Return what an error that ended a check tells, the first few of it."""
    return list({each.kind: each for each in _findings(error, row)}.values())[:MAX_ROW_FINDINGS]


def _findings(error: BaseException, row: ResultRow) -> list[Finding]:
    if isinstance(error, Failure):
        kind = f"{error.title}\n{_SCHEMA.sub('', error.message)}"
        exchange = exchange_of(error)
        if exchange is None:
            return [Finding(row, kind, kind)]
        return [Finding(row, kind, f"{exchange.summary}\n{kind}", exchange.curl)]
    if isinstance(error, BaseExceptionGroup):
        return [finding for each in error.exceptions for finding in _findings(each, row)]
    if isinstance(error, Nonconformity):
        text = f"expected: {error.expected}\ncame:     {error.came}"
        if error.sent is None:
            # What was compared is another each time; that it is not the same is one finding.
            return [Finding(row, row.sentence, text)]
        return [Finding(row, text, f"{error.sent.summary}\n{text}", error.sent.curl)]
    if isinstance(error, requests.RequestException):
        return [Finding(row, str(type(error)), f"expected: an answer\ncame:     {error}")]
    if isinstance(error, HypothesisException):
        words = str(error).partition("\n")[0]
        text = f"expected: the same answers when the same is sent again\ncame:     others, so that hypothesis stopped ({words})"
        return [Finding(row, row.sentence, text)]
    words = "".join(traceback.format_exception(error, limit=-LAST_FRAMES, chain=False))
    return [Finding(row, str(error), f"the kit itself failed, which is a defect of it:\n{words}")]
