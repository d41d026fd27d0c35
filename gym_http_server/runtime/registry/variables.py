"""Environment variables of processes that run third-party code: the server's, without its secrets."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

from ...config import ENVIRONMENT_PREFIX
from ...support.surroundings import with_working_directory_last

if TYPE_CHECKING:
    from collections.abc import Collection

SECRET: Final = re.compile(r"^(AWS|AZURE|GOOGLE)_|KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
"""Matches names of variables that hold secrets."""

SECRET_VALUE: Final = re.compile(
    r"""
      \b[a-z][a-z0-9+.-]{0,30}://[^/?\#\s@]*:[^/?\#\s]*@    # a URL with a password: postgres://user:secret@host
    | (?:^|[;&?\s{,"'])(?:password|passwd|pwd|secret|token|api_?key|accountkey|sharedaccesskey|sig|client_secret
        |private_key)["']?\s*[=:]\s*\S               # a connection string or JSON: Server=db;Pwd=…, {"private_key": …}
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY                # a key in PEM
    | \bauthorization\s*:\s*\S | \bbearer\s+\S{16}   # a header with a key
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                  # AWS
    | \bgh[pousr]_\w{20} | \bgithub_pat_\w{20} | \bglpat-[\w-]{16}       # GitHub, GitLab
    | \bsk-[\w-]{20} | \b[sr]k_live_\w{16} | \bxox[a-z]-[\w-]{10}        # OpenAI and Anthropic, Stripe, Slack
    | \bAIza[\w-]{35} | \bhf_\w{20} | \bpypi-[\w-]{20} | \bnpm_\w{20}    # Google, Hugging Face, PyPI, npm
    | \beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.                                   # a JSON Web Token
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Matches values that are secrets whatever their name: passwords in URLs and connection strings, and keys whose issuers gave
them a recognisable form."""


def variables_for_environments(passed: Collection[str] = ()) -> dict[str, str]:
    """Return the variables of an environment's process.

    Args:
        passed: names of variables to include even if they look like secrets (`--pass-variable`).
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ENVIRONMENT_PREFIX)
        and (name in passed or not (SECRET.search(name) or SECRET_VALUE.search(value)))
    }
    variables["PYTHONPATH"] = os.pathsep.join(with_working_directory_last(sys.path))
    # Output of environments is logged: without it, every environment that imports pygame logs a line.
    variables["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    return variables
