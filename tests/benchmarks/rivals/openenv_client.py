"""OpenEnv's own synchronous client, stepping CartPole.

python -m tests.benchmarks.rivals.openenv_client URL
"""

from __future__ import annotations

import sys
from typing import Any

from openenv.core import GenericEnvClient

from .client import work


def main() -> None:
    with GenericEnvClient(base_url=sys.argv[1]).sync() as client:
        client.reset()

        def after(result: Any) -> None:
            if result.done:
                client.reset()

        work(lambda action: client.step({"action": action}), after)


if __name__ == "__main__":
    main()
