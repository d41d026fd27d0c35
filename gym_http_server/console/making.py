"""The page that makes an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import flask

from ..runtime.messages import LIBRARIES, WRAPPER_NAMES

if TYPE_CHECKING:
    from ..interpreters.interpreters import Interpreters

MAX_PREFILLED_CHARS = 4096
FIELDS = (
    "env_id",
    "seed",
    "kwargs",
    "wrappers",
    "library",
    "interpreter",
    "render_mode",
    "max_episode_steps",
    "num_envs",
    "name",
    "labels",
)
"""Members of createEnv's body that the form has; parameters of the query fill them in."""

making = flask.Blueprint("making", __name__)


@making.get("/instances/new", strict_slashes=False)
def new() -> str:
    """The form that makes an instance; parameters of the query fill it in."""
    interpreters = cast("Interpreters | None", flask.current_app.extensions.get("interpreters"))
    return flask.render_template(
        "make.html",
        filled={name: flask.request.args.get(name, "")[:MAX_PREFILLED_CHARS] for name in FIELDS},
        wrappers=WRAPPER_NAMES,
        libraries=[(name, name) for name in LIBRARIES],
        interpreters=[] if interpreters is None else [(name, name) for name in interpreters.names],
    )
