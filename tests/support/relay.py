"""`Relay`: passes requests on to a server, and ends all its connections when it ends."""

from __future__ import annotations

from .loopback import Loopback, reply


class Relay(Loopback):
    """Passes requests on, unless `trouble` gives another reply, or None to close the connection after that.

    Args:
        server: the server, as `serving.Server`.
        trouble: gives the reply to a request instead of the server's, if it is not empty.
        options: as for `Loopback`.
    """

    def __init__(self, server, trouble=lambda _request: b"", **options):
        super().__init__(self._pass_on, **options)
        self.server, self.trouble = server, trouble

    def _pass_on(self, request):
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        answer = self.server.request(request.method, request.path, request.body or None, headers, check=False)
        trouble = self.trouble(request)
        kind = answer.headers.get("content-type", "")
        return reply(answer.body, f"{answer.status} as it is", kind) if trouble == b"" else trouble
