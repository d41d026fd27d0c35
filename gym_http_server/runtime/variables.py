"""The environment variables of processes that run third-party code: the server's own, without its secrets."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

from ..config import ENVIRONMENT_PREFIX
from ..surroundings import with_working_directory_last

if TYPE_CHECKING:
    from collections.abc import Collection

SECRET: Final = re.compile(r"^(AWS|AZURE|GOOGLE)_|KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
"""What the names of variables say that hold secrets."""


def variables_for_environments(passed: Collection[str] = ()) -> dict[str, str]:
    """Return the variables that an environment's process may see.

    Args:
        passed: names that are let through though they are those of secrets (`--pass-variable`).
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ENVIRONMENT_PREFIX) and (name in passed or not SECRET.search(name))
    }
    variables["PYTHONPATH"] = os.pathsep.join(with_working_directory_last(sys.path))
    # What environments print is logged, and this would be a line for each that uses pygame.
    variables["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    return variables
