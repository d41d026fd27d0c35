"""The command `gym-http-server`, with a gateway that hands every connection over at once and never learns better."""

from __future__ import annotations

from gym_http_server.cli import main
from gym_http_server.handover import policy

if __name__ == "__main__":
    policy.MIN_PATIENCE_REQUESTS = policy.MIN_SERVED_REQUESTS = 0
    main()
