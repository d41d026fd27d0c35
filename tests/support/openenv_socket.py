"""A client of OpenEnv's WebSocket, by raw frames."""

from __future__ import annotations

import json
from typing import Any

from .echo import Frames

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Session(Frames):
    """A client of one session."""

    def tell(self, kind: str, data: Any = None) -> None:
        """Send a message."""
        self.send(TEXT, json.dumps({"type": kind} if data is None else {"type": kind, "data": data}).encode())

    def ask(self, kind: str, data: Any = None) -> Any:
        """Send a message; return its reply."""
        self.tell(kind, data)
        return self.answer()

    def answer(self) -> Any:
        """Return the next message."""
        opcode, payload = self.read()
        while opcode == PING:
            opcode, payload = self.read()
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    def answer_ping(self) -> None:
        """Answer the next message, which is a ping."""
        opcode, payload = self.read()
        assert opcode == PING, (opcode, payload)
        self.send(PONG, payload)

    def error(self, kind: str, data: Any = None) -> tuple[str, str]:
        """Send a message; return code and words of the error that it is answered with."""
        told = self.ask(kind, data)
        assert told["type"] == "error", told
        return told["data"]["code"], told["data"]["message"]
