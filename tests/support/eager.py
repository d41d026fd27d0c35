"""The command `gym-http-server`, with a gateway that hands every connection over at once and never learns better."""

from __future__ import annotations

from gym_http_server.cli import main
from gym_http_server.handover import gateway

if __name__ == "__main__":
    gateway.MIN_PATIENCE_REQUESTS = gateway.MIN_SERVED_REQUESTS = 0
    main()
