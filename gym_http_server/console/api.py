"""The pages about the API: the operations to try out, and the contract to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flask
import swagger_ui_bundle

from ..contract import load_contract

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

# Swagger UI's style sheet has its icons in it.
POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

api = flask.Blueprint("api", __name__)


@api.get("/ui/")
def operations() -> flask.Response:
    """Swagger UI, which shows every operation and sends requests."""
    return flask.make_response(flask.render_template("operations.html"), {"Content-Security-Policy": POLICY})


@api.get("/ui/<any('swagger-ui-bundle.js', 'swagger-ui.css'):name>")
def file(name: str) -> Response:
    """Return one of Swagger UI's files."""
    return flask.send_from_directory(str(swagger_ui_bundle.swagger_ui_path), name)


@api.get("/contract", strict_slashes=False)
def contract() -> str:
    """The OpenAPI document, to read and to download."""
    text = load_contract().yaml_at(flask.request.script_root).decode()
    return flask.render_template("contract.html", text=text)


@api.record_once
def _add_addresses(state: flask.blueprints.BlueprintSetupState) -> None:
    # What stands before this app serves them; here they have addresses, under the root path as all others are.
    state.add_url_rule("/openapi.<form>", "document", build_only=True)
    state.add_url_rule("/v1/evaluations/<evaluation_id>/", "evaluation", build_only=True)
