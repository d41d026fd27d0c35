"""`Thresholds`: the mean return at which an environment counts as solved, `reward_threshold` of its specification.

Packages that register environments are third-party code, which the server does not run. So the thresholds of all but
Gymnasium's own environments are read by a short-lived process (`runtime/registry/subprocess_query.py`) that runs this module.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ..errors import InquiryFailedError
from ..runtime.messages import OWN_IDS
from ..runtime.registry.registered import finite
from ..runtime.registry.subprocess_query import QUERY_TIMEOUT_SECONDS, Inquirer, answer

if TYPE_CHECKING:
    from ..runtime.registry.subprocess_query import Progress

logger = logging.getLogger(__name__)

MODULE: Final = "gym_http_server.results.threshold"
"""Name of this module, which is `__main__` in the process."""

MAX_THRESHOLDS = 4096
"""Maximum number of remembered environments."""


class Thresholds:
    """The reward thresholds of environments, each looked up once.

    Args:
        imports: what registers environments (`--import`, `--env`).
        pass_variable: variables to pass to the process although their names look like secrets.
        seconds: time limit of a process.
    """

    def __init__(
        self,
        imports: tuple[str, ...] = (),
        *,
        pass_variable: tuple[str, ...] = (),
        seconds: float = QUERY_TIMEOUT_SECONDS,
    ) -> None:
        self._imports = imports
        self._factories = {each.partition("=")[0] for each in imports if "=" in each}
        self._inquirer = Inquirer(imports, pass_variable=pass_variable, seconds=seconds)
        self._known: dict[tuple[str, str], float | None] = {}

    def of(self, env_id: str, library: str) -> float | None:
        """Return the threshold of an environment, or None if it has none or exactly that id is not registered.

        Args:
            env_id: the id.
            library: library and version of the environment, such as `gymnasium 1.4.0`.
        """
        name = library.partition(" ")[0]
        # The environment of a factory, or of a library of its own, has no threshold, whatever has that id in Gymnasium.
        if name in OWN_IDS or (env_id in self._factories and name != "gym"):
            return None
        key = env_id, name if name in ("gym", "gymnasium") else "auto"
        if key not in self._known:
            try:
                threshold = self._find(*key)
            except InquiryFailedError as error:
                logger.warning("the reward threshold of %r cannot be looked up: %s", env_id, error.detail)
                return None
            if len(self._known) >= MAX_THRESHOLDS:
                self._known.clear()
            self._known[key] = threshold
        return self._known[key]

    def _find(self, env_id: str, library: str) -> float | None:
        from gymnasium.envs.registration import registry

        # `gymnasium.spec` would import the module of an id such as `module:Env-v0`.
        if library != "gym" and (specification := registry.get(env_id)) is not None:
            return finite(specification.reward_threshold)
        if library == "gymnasium" and not self._imports:
            return None
        question = {"env_id": env_id, "library": library, "imports": self._imports}
        return finite(self._inquirer.ask(MODULE, question))


def _answer(question: dict[str, Any], progress: Progress) -> float | None:  # noqa: ARG001 -- the imports are done
    from ..errors import UnknownEnvironmentError
    from ..runtime.making.ids import find
    from ..runtime.messages import CreateRequest

    request = CreateRequest(
        question["env_id"], library=question["library"], strict_env_ids=True, imports=tuple(question["imports"])
    )
    try:
        found = find(request)
    except UnknownEnvironmentError:
        return None
    # A notice means that a successor was found: another environment, with another threshold.
    return None if found.notice is not None else finite(found.specification.reward_threshold)


if __name__ == "__main__":
    answer(_answer)
