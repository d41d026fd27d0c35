"""`KitSession`: a `requests` session for schemathesis that keeps the rules of `Implementation`."""

from __future__ import annotations

import contextlib
import re
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import requests
from requests.adapters import HTTPAdapter
from schemathesis.core.failures import FailureGroup

from ..exchange import Answer, Exchange, NoAnswer, Nonconformity, Request
from ..ledger import KEY, is_creation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case
    from schemathesis.core.transport import Response

    from ..implementation import Implementation

_SCHEMA = re.compile(r"\n\n(Validated against|Schema at) .*", re.DOTALL)
"""The schema at the end of a failure's message; the contract has it."""


class KitSession(requests.Session):
    """A session with one implementation, which admits the requests and notes what they create."""

    _CLIENT_HEADERS: ClassVar = {
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "host",
        "user-agent",
    }
    """Headers that curl sends itself, or that are secret."""

    def __init__(self, implementation: Implementation) -> None:
        super().__init__()
        self._implementation = implementation
        self.headers.update(implementation.key_headers)
        # No proxies of the environment, and no passwords of ~/.netrc.
        self.trust_env = False
        self.mount("https://", _Adapter(implementation))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request that the implementation admits.

        Raises:
            NoAnswer: the connection failed, or the answer took too long.
        """
        if is_creation(request.method or "", self._path(request)):
            # With a key the creation can be repeated if it has no answer, to close its instance.
            request.headers.setdefault(KEY, str(uuid.uuid4()))
        sent = self._request(request)
        self._implementation.admit(sent.method, sent.path)
        ledger = self._implementation.ledger
        try:
            response = super().send(request, **options)
        except (requests.RequestException, KeyboardInterrupt) as error:
            ledger.note_silence(sent)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise NoAnswer("an answer", str(error), self._implementation.sent(sent)) from error
        ledger.note(sent, Answer(response.status_code, {}, response.content))
        return response

    def validate(self, case: Case[Any], headers: dict[str, str]) -> None:
        """Send a generated request and validate its answer.

        Raises:
            Nonconformity: the contract declares no such answer.
        """
        response = case.call(**self.sending, headers=headers)
        with self.explaining(response):
            case.validate_response(response, headers=headers, transport_kwargs={**self.sending, "headers": headers})

    @property
    def sending(self) -> dict[str, Any]:
        """Schemathesis's arguments for sending a request."""
        implementation = self._implementation
        return {"base_url": implementation.url, "session": self, "timeout": implementation.timeout}

    @contextlib.contextmanager
    def explaining(self, response: Response) -> Iterator[None]:
        """Turn schemathesis's failures of an answer into one error of the kit.

        Raises:
            Nonconformity: schemathesis found failures.
        """
        try:
            yield
        except FailureGroup as error:
            request = self._request(response.request)
            headers = {name: values[0] for name, values in response.headers.items()}
            answer = Answer(response.status_code, headers, response.content)
            failures = "\n".join(f"{each.title}: {_SCHEMA.sub('', each.message)}" for each in error.exceptions)
            exchange = Exchange(request, self._implementation.sent(request).curl, answer)
            raise Nonconformity("a reply that the contract declares", failures, exchange) from None

    def _request(self, request: requests.PreparedRequest) -> Request:
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        headers = {
            name: value if isinstance(value, str) else value.decode("latin-1")
            for name, value in request.headers.items()
            if name.lower() not in self._CLIENT_HEADERS and not name.lower().startswith("x-schemathesis")
        }
        return Request(request.method or "GET", self._path(request), headers, body)

    def _path(self, request: requests.PreparedRequest) -> str:
        return request.path_url.removeprefix(self._implementation.address.prefix)


class _Adapter(HTTPAdapter):
    """Trusts the certificate authorities of the rest of the kit: the system's, or those of `SSL_CERT_FILE`."""

    def __init__(self, implementation: Implementation) -> None:
        self._tls = implementation.tls
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=self._tls)
