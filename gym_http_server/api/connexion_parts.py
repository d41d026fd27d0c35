"""Imports of connexion, in half the time: modules that a server never uses are deferred or skipped.

- Starlette's test client, used by `AsyncApp.test_client`, with httpx, rich and pygments (0.3 s).
- requests, used for references to remote documents; the contract has none (0.15 s).
- The validation of the OpenAPI document, which the tests do (0.25 s).
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from typing import TYPE_CHECKING, Any

from ..support.deferred import Deferred

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator


class _DeferredClient(Deferred):
    """Placeholder of `starlette.testclient`, from which connexion imports a class."""

    def TestClient(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 -- Starlette's name
        """Return a test client."""
        return importlib.import_module(self.__name__).TestClient(*args, **kwargs)


@contextlib.contextmanager
def _deferred(*modules: types.ModuleType) -> Iterator[None]:
    """Put placeholders into `sys.modules`, where the real modules are not loaded, and remove them at the end."""
    put = [each for each in modules if each.__name__ not in sys.modules]
    sys.modules.update({each.__name__: each for each in put})
    try:
        yield
    finally:
        for each in put:
            del sys.modules[each.__name__]


with (
    warnings.catch_warnings(),
    _deferred(_DeferredClient("starlette.testclient"), Deferred("httpx"), Deferred("requests")),
):
    # If Starlette's test client is loaded, it warns that it prefers another HTTP library.
    warnings.simplefilter("ignore")
    from connexion import AsyncApp
    from connexion import request as current_request
    from connexion.exceptions import BadRequestProblem, ProblemException
    from connexion.json_schema import format_error_with_path
    from connexion.lifecycle import ConnexionRequest, ConnexionResponse
    from connexion.middleware import MiddlewarePosition
    from connexion.options import SwaggerUIOptions
    from connexion.resolver import Resolver
    from connexion.spec import OpenAPISpecification
    from connexion.validators import JSONRequestBodyValidator

__all__ = [
    "AsyncApp",
    "BadRequestProblem",
    "ConnexionRequest",
    "ConnexionResponse",
    "JSONRequestBodyValidator",
    "MiddlewarePosition",
    "ProblemException",
    "Resolver",
    "SwaggerUIOptions",
    "current_request",
    "format_error_with_path",
]

OpenAPISpecification._validate_spec = staticmethod(lambda _: None)
