"""`Request`, `Answer` and `Exchange`: the kit's HTTP messages, with the curl command that repeats a request."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import Any

KEY_VARIABLE = "GYM_HTTP_SERVER_API_KEY"
JSON = "application/json"
MSGPACK = "application/msgpack"
MAX_TEXT_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Request:
    """A request: its path is percent-encoded, its headers lack `Host`, `Content-Length` and `Authorization`."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, method: str, path: str, value: Any = None, **headers: str) -> Request:
        """Return a request with a value as its JSON body; None for no body."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        if value is None:
            return cls(method, path, {"Accept": JSON, **named})
        return cls(method, path, {"Content-Type": JSON, "Accept": JSON, **named}, json.dumps(value).encode())

    def header(self, name: str) -> str | None:
        """Return a header, by its name in any case, or None."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    def curl(self, url: str, *, has_key: bool) -> str:
        """Return the curl command for an implementation's URL; a variable stands for the key."""
        words = ["curl -i"]
        if self.method != "GET":
            words.append(f"-X {self.method}")
        # curl sends `Accept: */*` itself.
        headers = (f"{name}: {value}" for name, value in self.headers.items() if (name, value) != ("Accept", "*/*"))
        words += [f"-H {shlex.quote(header)}" for header in headers]
        if has_key:
            words.append(f'-H "Authorization: Bearer ${KEY_VARIABLE}"')
        if self.body:
            try:
                words.append(f"-d {shlex.quote(self.body.decode())}")
            except UnicodeDecodeError:
                escaped = "".join(f"\\x{byte:02x}" for byte in self.body)
                return f"printf '{escaped}' | {' '.join(words)} --data-binary @- {shlex.quote(url + self.path)}"
        return f"{' '.join(words)} {shlex.quote(url + self.path)}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request, with lower-case names of headers and a decompressed body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The media type, without parameters."""
        return self.headers.get("content-type", "").split(";")[0].strip()

    @property
    def json(self) -> Any:
        """The value of a JSON body.

        Raises:
            Nonconformity: the body is not JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Nonconformity("a body of JSON", f"{shown(self.body)} ({error})") from None

    def __str__(self) -> str:
        text = shown(self.body.decode(errors="backslashreplace")) if self.body else "without a body"
        return " ".join(part for part in (str(self.status), self.media_type, text) if part)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was sent, and the curl command that repeats it."""

    request: Request
    curl: str

    @property
    def summary(self) -> str:
        """Method and path."""
        return f"{self.request.method} {self.request.path}"

    def __str__(self) -> str:
        return f"{self.summary}\n{self.curl}"


@dataclass(frozen=True, slots=True)
class Exchange(Sent):
    """A request and its answer."""

    answer: Answer

    @property
    def summary(self) -> str:
        """Method, path and answer."""
        return f"{self.request.method} {self.request.path} answered {self.answer}"


class Nonconformity(AssertionError):
    """An implementation did something that the contract does not allow.

    Args:
        expected: what the contract says.
        came: what the implementation did.
        sent: the request, with its answer if there was one; None if several requests were compared.
    """

    def __init__(self, expected: str, came: str, sent: Sent | None = None) -> None:
        super().__init__(expected, came)
        self.expected = expected
        self.came = came
        self.sent = sent

    def __str__(self) -> str:
        text = f"expected: {self.expected}\ncame:     {self.came}"
        return text if self.sent is None else f"{text}\n{self.sent}"


class NoAnswer(Nonconformity):
    """The connection failed, or the answer took too long."""


class NotServed(Exception):
    """The implementation does not serve what a check needs, and refuses it as the contract says."""


def shown(value: object) -> str:
    """Return a value as one line of at most `MAX_TEXT_CHARACTERS`."""
    text = " ".join(str(value).split()) if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]}…"
