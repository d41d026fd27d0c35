"""Our server without its hot path: every request goes through connexion's full stack.

python -m tests.benchmarks.apps.without_hot_path inline|process
"""

from __future__ import annotations

import functools
import sys

import click

from gym_http_server import server, serving


def main() -> None:
    # In the place of the class that `serving.py` uses: everything else is as it is served otherwise.
    serving.Application = functools.partial(serving.Application, hot_path=False)
    server.start_server(
        port=0, engine=sys.argv[1], log_level="error", on_start=lambda url: click.echo(f"listening on {url}")
    )


if __name__ == "__main__":
    main()
