"""The mean return at which an environment counts as solved: `reward_threshold` of its registered specification.

The registry is in the library's process, and packages that register environments are third-party code, which the server
does not run. So what Gymnasium itself does not register is asked of a process that lives for the one question: this module,
run with `python -m`. It reads the question from stdin and answers on stdout, both one line of JSON.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import math
import os
import signal
import subprocess
import sys
from typing import Any, TextIO

from ..runtime.variables import variables_for_environments

logger = logging.getLogger(__name__)

SECONDS = 30.0
"""How long the process may take; importing a library of environments takes one or two."""

LARGEST = 4096
"""How many environments are remembered."""


class Thresholds:
    """The reward thresholds of environments, each looked up once.

    Args:
        imports: modules that register environments (`--import`).
        pass_variable: variables that the process sees though their names are those of secrets.
        seconds: how long a process may take.
    """

    def __init__(
        self, imports: tuple[str, ...] = (), *, pass_variable: tuple[str, ...] = (), seconds: float = SECONDS
    ) -> None:
        self._imports = imports
        self._pass_variable = pass_variable
        self._seconds = seconds
        self._known: dict[tuple[str, str], float | None] = {}

    def of(self, env_id: str, library: str) -> float | None:
        """Return the threshold of an environment, or None where it has none, or nothing registers exactly that id.

        Args:
            env_id: the id.
            library: library and version that made the environment, such as `gymnasium 1.4.0`.
        """
        name = library.partition(" ")[0]
        key = env_id, name if name in ("gym", "gymnasium") else "auto"
        if key not in self._known:
            try:
                found = self._find(*key)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                logger.warning("the reward threshold of %r cannot be looked up: %s", env_id, error)
                return None
            if len(self._known) >= LARGEST:
                self._known.clear()
            self._known[key] = found
        return self._known[key]

    def _find(self, env_id: str, library: str) -> float | None:
        from gymnasium.envs.registration import registry

        # A look into a dict, where `gymnasium.spec` would import what an id such as `module:Env-v0` names.
        if library != "gym" and (specification := registry.get(env_id)) is not None:
            return _number(specification.reward_threshold)
        if library == "gymnasium" and not self._imports:
            return None
        question = {"env_id": env_id, "library": library, "imports": self._imports, "seconds": self._seconds}
        return _number(_ask(question, self._pass_variable, self._seconds))


def _ask(question: dict[str, Any], pass_variable: tuple[str, ...], seconds: float) -> Any:
    process = subprocess.Popen(  # noqa: S603 -- this module, with this interpreter
        [sys.executable, "-P", "-m", __name__],
        env=variables_for_environments(pass_variable),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with process:
        try:
            answer, _ = process.communicate(json.dumps(question).encode() + b"\n", seconds)
        finally:
            # What an import left running would hold the pipe open.
            _kill(process)
    if process.returncode != 0:
        raise ValueError(f"the process that looks it up ended with status {process.returncode}")
    return json.loads(answer)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def main() -> None:
    """Answer one question: `null`, or the threshold."""
    # Third-party modules print; what they print is not the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    question = json.loads(sys.stdin.readline())
    # A module that hangs as it is imported must not outlive a server that has gone.
    faulthandler.dump_traceback_later(question["seconds"] + 5.0, exit=True)
    _answer(question, answer)


def _answer(question: dict[str, Any], answer: TextIO) -> None:
    from ..errors import UnknownEnvironmentError
    from ..runtime.env_ids import find
    from ..runtime.library import declare_imports
    from ..runtime.messages import CreateRequest

    imports = tuple(question["imports"])
    declare_imports(imports)
    request = CreateRequest(question["env_id"], library=question["library"], strict_env_ids=True, imports=imports)
    threshold = None
    with contextlib.suppress(UnknownEnvironmentError):
        found = find(request)
        # A successor is another environment, with another threshold.
        if found.notice is None:
            threshold = _number(found.specification.reward_threshold)
    json.dump(threshold, answer)
    answer.flush()
    # What a module left running must not keep this process.
    os._exit(0)


if __name__ == "__main__":
    main()
