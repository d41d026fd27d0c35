"""What an environment says, in words that a model can use: spaces, observations, rewards, how the episode goes.

The parts of an observation have names where the environment tells them: the keys of a Dict, a table in the docstring as
Gymnasium's own environments have it, or `get_action_meanings`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .schemas import ALPHANUMERIC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_LISTED_NUMBERS: Final = 32
"""Most numbers of an array that are told one by one; of more, the smallest, the mean and the greatest are told."""

MAX_TEXT_CHARS: Final = 4_000
"""Characters after which a value in words is cut."""

_INFINITY: Final = 1e100
_HEADING: Final = re.compile(r"^\s*#+\s*(.+?)\s*$")
_ITEM: Final = re.compile(r"^\s*[-*]\s*`?(\d+)`?\s*[:=-]\s*(.+?)\s*$")


class Names(NamedTuple):
    """What an environment tells of its spaces.

    Attributes:
        meanings: what each value of a Discrete action space means; empty where nobody tells.
        action: names of the parts of an action; empty where nobody tells.
        observation: names of the parts of an observation; empty where nobody tells.
    """

    meanings: Sequence[str] = ()
    action: Sequence[str] = ()
    observation: Sequence[str] = ()

    @classmethod
    def of(
        cls, controls: Mapping[str, Any], action_space: Mapping[str, Any], observation_space: Mapping[str, Any]
    ) -> Names:
        """Return the names for an environment's controls (the contract's `Controls`) and the descriptions of its spaces."""
        text = str(controls.get("documentation") or "")
        meanings = tuple(controls.get("meanings") or ())
        if not meanings and action_space["name"] == "Discrete":
            meanings = _listed(text, action_space["n"]) or _column(text, "action", action_space["n"])
        return cls(
            meanings,
            _column(text, "action", _parts(action_space)),
            _column(text, "observation", _parts(observation_space)),
        )


def space_in_words(space: Mapping[str, Any], names: Sequence[str] = (), meanings: Sequence[str] = ()) -> str:
    """Return what the values of a space are.

    Args:
        space: its description.
        names: the names of its parts.
        meanings: what each value of a Discrete space means.
    """
    return _cut(_space(space, names, meanings))


def value_in_words(
    space: Mapping[str, Any], value: Any, names: Sequence[str] = (), meanings: Sequence[str] = ()
) -> str:
    """Return a value of a space, as a reply in JSON has it; also one that does not fit the space.

    Args:
        space: the description of the space.
        value: the value.
        names: the names of its parts.
        meanings: what each value of a Discrete space means.
    """
    return _cut(_value(space, value, names, meanings))


def reward_in_words(reward: Any) -> str:
    """Return a reward: a number, one for each component or agent, or none."""
    return "no reward" if reward is None else f"reward {_plain(reward)}"


def episode_in_words(
    steps: int, max_steps: int | None = None, *, terminated: bool = False, truncated: bool = False, total: Any = None
) -> str:
    """Return how an episode goes.

    Args:
        steps: steps taken in it.
        max_steps: steps after which it is truncated; None if that is not known.
        terminated: it has come to its end.
        truncated: it was ended, by a time limit for example.
        total: sum of its rewards; None leaves it out.
    """
    if not terminated and not truncated:
        return f"episode goes on (step {steps}{'' if max_steps is None else f' of {max_steps}'})"
    how = "terminated" if terminated else "truncated, such as by its time limit"
    told = f"episode is over after {steps} {'step' if steps == 1 else 'steps'}: {how}"
    return told if total is None else f"{told}; total reward {_plain(total)}"


def _space(space: Mapping[str, Any], names: Sequence[str], meanings: Sequence[str] = ()) -> str:
    match space["name"]:
        case "Discrete":
            start, stop = space["start"], space["start"] + space["n"] - 1
            if len(meanings) == space["n"]:
                return ", ".join(f"{number} = {meaning}" for number, meaning in enumerate(meanings, start))
            return f"a whole number from {start} to {stop}"
        case "Box" | "MultiDiscrete" | "MultiBinary":
            return _array_space(space, names)
        case "Text":
            is_usual = frozenset(space["characters"]) == ALPHANUMERIC
            characters = "letters and digits" if is_usual else f"the characters {space['characters'][:200]!r}"
            return f"a text of {space['min_length']} to {space['max_length']} of {characters}"
        case "Dict":
            parts = (f"{key}: {_space(space['spaces'][key], ())}" for key in space["keys"])
            return f"an object with {'; '.join(parts)}" if space["keys"] else "an empty object"
        case "Tuple":
            told = names if len(names) == len(space["spaces"]) else range(len(space["spaces"]))
            parts = (f"{name}: {_space(part, ())}" for name, part in zip(told, space["spaces"], strict=True))
            return f"a list of {len(space['spaces'])} items, {'; '.join(parts)}"
        case "OneOf":
            parts = (f"[{index}, {_space(part, ())}]" for index, part in enumerate(space["spaces"]))
            return f"a list of an index and a value, one of {' or '.join(parts)}"
        case "Sequence":
            return f"a list of any length, each item {_space(space['space'], ())}"
        case "Graph":
            edges = f", edges between them, each {_space(space['edge_space'], ())}" if "edge_space" in space else ""
            return f"a graph of nodes, each {_space(space['node_space'], ())}{edges}"
        case name:
            return f"a value of {name}, which its environment checks"


def _array_space(space: Mapping[str, Any], names: Sequence[str]) -> str:
    size = math.prod(space["shape"])
    ranges = _ranges(space, size)
    kind = "a number" if space.get("dtype", "").startswith("float") else "a whole number"
    if names and len(names) == size:
        told = ", ".join(f"{name} ({each})" for name, each in zip(names, ranges, strict=True))
        return f"a list of {size}: {told}" if space["shape"] else told
    if not space["shape"]:
        return f"{kind}, {ranges[0]}"
    if len(set(ranges)) > 1 and size <= MAX_LISTED_NUMBERS:
        shown = f"each {', '.join(ranges)}"
    else:
        shown = f"each {ranges[0]}" if len(set(ranges)) == 1 else "each within its own bounds"
    if len(space["shape"]) == 1:
        return f"a list of {size} {'number' if size == 1 else 'numbers'}, {shown}"
    what = "an image, nested lists" if _is_image(space) else "nested lists"
    return f"{what} of {_dimensions(space['shape'])} numbers, {shown}"


def _is_image(space: Mapping[str, Any]) -> bool:
    shape = space["shape"]
    return space.get("dtype") == "uint8" and len(shape) == 3 and min(shape[:2]) > 3 and shape[2] in (1, 3, 4)


def _ranges(space: Mapping[str, Any], size: int) -> list[str]:
    if space["name"] == "MultiBinary":
        return ["0 or 1"] * size
    if space["name"] == "MultiDiscrete":
        starts = space.get("start") or [0] * size
        return [f"{start} to {start + count - 1}" for start, count in zip(starts, space["nvec"], strict=True)]
    return list(map(_range, space["low"], space["high"]))


def _range(low: float, high: float) -> str:
    if low <= -_INFINITY:
        return "any number" if high >= _INFINITY else f"up to {_number(high)}"
    return f"{_number(low)} or more" if high >= _INFINITY else f"{_number(low)} to {_number(high)}"


def _value(space: Mapping[str, Any], value: Any, names: Sequence[str] = (), meanings: Sequence[str] = ()) -> str:
    match space["name"], value:
        case "Discrete", int() if 0 <= value - space["start"] < len(meanings):
            return f"{value} ({meanings[value - space['start']]})"
        case "Text", str():
            return value
        case "Box", list() if _is_image(space):
            return f"an image, {_plain(value)}"
        case "Dict", dict():
            known = space["spaces"]
            return "; ".join(
                f"{key} {_value(known[key], part) if key in known else _plain(part)}" for key, part in value.items()
            )
        case "Tuple", list() if len(value) == len(space["spaces"]):
            parts = [_value(part, item) for part, item in zip(space["spaces"], value, strict=True)]
            if len(names) == len(parts):
                return ", ".join(f"{name} {part}" for name, part in zip(names, parts, strict=True))
            return f"({', '.join(parts)})"
        case "OneOf", [int() as index, part] if 0 <= index < len(space["spaces"]):
            return f"{index}: {_value(space['spaces'][index], part)}"
        case "Sequence", list() if not space["stacked"]:
            return (
                f"{len(value)} items: {'; '.join(_value(space['space'], item) for item in value)}" if value else "none"
            )
    if names and isinstance(value, list) and len(names) == len(value):
        return ", ".join(f"{name} {_plain(item)}" for name, item in zip(names, value, strict=True))
    return _plain(value)


def _plain(value: Any) -> str:
    """Return a value of JSON in words: long arrays as what they have in common."""
    match value:
        case None:
            return "not a number"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return _number(value)
        case dict():
            return "; ".join(f"{key} {_plain(part)}" for key, part in value.items()) or "nothing"
        case list():
            shape, numbers = _shape(value)
            if len(numbers) > MAX_LISTED_NUMBERS and all(isinstance(each, int | float) for each in numbers):
                least, mean, most = min(numbers), sum(numbers) / len(numbers), max(numbers)
                told = f"from {_number(least)} to {_number(most)}, {_number(mean)} on average"
                return f"{_dimensions(shape)} numbers {told}"
            return f"[{', '.join(map(_plain, value))}]"
    return str(value)


def _shape(value: list[Any]) -> tuple[list[int], list[Any]]:
    """Return the shape of nested lists, as far as they are even, and their items there."""
    shape, items = [len(value)], value
    while items and all(isinstance(each, list) and len(each) == len(items[0]) for each in items):
        shape.append(len(items[0]))
        items = [part for each in items for part in each]
    return shape, items


def _dimensions(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _number(value: float) -> str:
    """Return a number with three significant digits, whole ones with all of them, without a zero of its own sign."""
    if abs(value) >= _INFINITY:
        return "infinity" if value > 0 else "-infinity"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return str(int(value))
    size = abs(value)
    if not 1e-4 <= size < 1e6:
        return f"{value:.3g}"
    decimals = max(0, 2 - math.floor(math.log10(size)))
    fixed = f"{value:.{decimals}f}"
    return fixed.rstrip("0").rstrip(".") if decimals else fixed


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[:MAX_TEXT_CHARS]}… ({len(text)} characters)"


def _parts(space: Mapping[str, Any]) -> int:
    """Return the number of parts that names could be for; 0 where there are none."""
    if space["name"] == "Tuple":
        return len(space["spaces"])
    shape = space.get("shape") or []
    return shape[0] if len(shape) == 1 else 0


def _listed(text: str, count: int) -> tuple[str, ...]:
    """Return what a list `- 0: …` says of each value, below a heading that speaks of actions."""
    meanings: dict[int, str] = {}
    is_about_actions = False
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            is_about_actions = "action" in heading[1].casefold()
        elif is_about_actions and (item := _ITEM.match(line)):
            meanings.setdefault(int(item[1]), _name(item[2]))
    return tuple(meanings[number] for number in range(count)) if meanings.keys() == set(range(count)) else ()


def _column(text: str, title: str, count: int) -> tuple[str, ...]:
    """Return the column of that title of the first Markdown table that has `count` rows; empty if there is none."""
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        stripped = line.strip()
        if stripped.startswith("|"):
            rows.append([cell.strip() for cell in stripped.strip("|").split("|")])
            continue
        if rows and len(rows) == count + 2 and count > 0:
            titles = [cell.casefold() for cell in rows[0]]
            at = titles.index(title) if title in titles else -1
            if at >= 0 and all(len(row) > at and row[at] for row in rows[2:]):
                return tuple(_name(row[at]) for row in rows[2:])
        rows = []
    return ()


def _name(text: str) -> str:
    """Return a name without marks of Markdown, in lower case unless it has capitals of its own."""
    plain = re.sub(r"[`*]|<[^>]+>", "", text).strip().rstrip(".")
    words = plain.split()
    return " ".join(word.lower() if word[1:] and word[1:] == word[1:].lower() else word for word in words)
