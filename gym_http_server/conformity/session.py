"""`KitSession`: the `requests` session of schemathesis, with the same rules as `Implementation`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import requests
from requests.adapters import HTTPAdapter
from schemathesis.core.failures import Failure, FailureGroup

from .exchange import Answer, Exchange, Request
from .ledger import KEY, is_creation

if TYPE_CHECKING:
    from schemathesis import Case
    from schemathesis.core.transport import Response

    from .implementation import Implementation


class KitSession(requests.Session):
    """A session with one implementation.

    Args:
        implementation: says what may be asked, and writes down what was made.
    """

    _OWN: ClassVar = {"accept-encoding", "authorization", "connection", "content-length", "host", "user-agent"}
    """Headers that a client has of its own, or nobody is to see."""

    def __init__(self, implementation: Implementation) -> None:
        super().__init__()
        self._implementation = implementation
        self.headers.update(implementation.key_headers)
        # Neither a proxy that the environment names nor a password of ~/.netrc: what is sent is what the kit says.
        self.trust_env = False
        self.mount("https://", _Adapter(implementation))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request that the implementation may be asked."""
        if is_creation(request.method or "", self._path(request)):
            # Without an answer it can be asked for again, to close what it made.
            request.headers.setdefault(KEY, str(uuid.uuid4()))
        sent = self._request(request)
        ledger = self._implementation.ledger
        with self._implementation.sending(sent.method, sent.path):
            try:
                response = super().send(request, **options)
                ledger.note(sent, Answer(response.status_code, {}, response.content))
            except requests.RequestException:
                ledger.note_silence(sent)
                raise
        return response

    def hold(self, case: Case[Any], headers: dict[str, str]) -> None:
        """Send a generated request and hold its answer against the contract.

        Raises:
            FailureGroup: it is not what the contract says.
        """
        response = case.call(**self.sending, headers=headers)
        try:
            case.validate_response(response, headers=headers, transport_kwargs={**self.sending, "headers": headers})
        except FailureGroup as error:
            self.explain(error, response)
            raise

    @property
    def sending(self) -> dict[str, Any]:
        """How schemathesis is to send."""
        implementation = self._implementation
        return {"base_url": implementation.url, "session": self, "timeout": implementation.timeout}

    def explain(self, error: FailureGroup, response: Response) -> None:
        """Give what schemathesis found the exchange that it was found in, for `exchange_of`."""
        request = self._request(response.request)
        headers = {name: values[0] for name, values in response.headers.items()}
        answer = Answer(response.status_code, headers, response.content)
        exchange = Exchange(request, self._implementation.sent(request).curl, answer)
        for each in error.exceptions:
            # Of the group itself schemathesis's plugin makes another one.
            vars(each)["exchange"] = exchange

    def _request(self, request: requests.PreparedRequest) -> Request:
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        headers = {
            name: value if isinstance(value, str) else value.decode("latin-1")
            for name, value in request.headers.items()
            if name.lower() not in self._OWN and not name.lower().startswith("x-schemathesis")
        }
        return Request(request.method or "GET", self._path(request), headers, body)

    def _path(self, request: requests.PreparedRequest) -> str:
        return request.path_url.removeprefix(self._implementation.address.prefix)


def exchange_of(failure: Failure) -> Exchange | None:
    """Return the exchange that something was found in, where that was explained."""
    exchange: Exchange | None = vars(failure).get("exchange")
    return exchange


class _Adapter(HTTPAdapter):
    """Trusts the authorities that the rest of the kit trusts, which are the system's or those of `SSL_CERT_FILE`."""

    def __init__(self, implementation: Implementation) -> None:
        self._tls = implementation.tls
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=self._tls)
