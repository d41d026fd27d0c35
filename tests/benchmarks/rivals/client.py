"""What the clients have in common: each line of the standard input asks for a chunk of work, and gets a sample as JSON."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import click

from ..figure import timed


def work(step: Callable[[int], Any], after: Callable[[Any], object]) -> None:
    """Step until the input ends.

    Args:
        step: takes an action and makes a step.
        after: takes what that returned, and begins an episode where one ended; not timed.
    """
    actions = itertools.cycle((0, 1))
    for line in sys.stdin:
        sample = timed(lambda: step(next(actions)), float(line), after=after)
        click.echo(json.dumps(sample))
