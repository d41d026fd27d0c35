"""Pages about the server: the home page, the operations to try out, and the contract to read."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import flask
import swagger_ui_bundle

from .. import __version__
from ..contract import load_contract
from ..runtime.registry.registry import installed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.wrappers import Response

    from ..instances.closed import ClosedInstance
    from ..instances.directory import Instances
    from ..instances.instance import Instance
    from ..runtime.messages import Description

# The home page is fetched every two seconds.
MAX_ROWS = 200
# Swagger UI's style sheet contains its icons as data URLs.
SWAGGER_UI_POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

pages = flask.Blueprint("pages", __name__)


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One live instance; see `instances.instance.Instance` for the attributes."""

    instance_id: str
    env_id: str
    library: str
    engine: str
    state: str
    steps: int
    episodes: int
    created_at: datetime
    last_used_at: datetime
    num_envs: int | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    render_mode: str | None = None
    version: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One shard of a cluster, live or lost, with the number of its instances and how many it may have."""

    prefix: str
    node: str
    state: str
    instances: int
    room: int
    url: str = ""
    loss: str = ""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the home page of a router shows of its cluster.

    Attributes:
        nodes: name, state and resources of each node.
        shards: its shards.
        pending: number of shards that wait for a node with room.
        problem: why it takes no new instances; empty if it does.
    """

    nodes: list[tuple[str, str, str]]
    shards: list[ShardRow]
    pending: int = 0
    problem: str = ""


class ConsoleView:
    """What the home page shows of the server. Thread-safe, because Flask serves pages on its own threads.

    Args:
        engine: name of the engine.
        instances: the live instances.
    """

    def __init__(self, engine: str, instances: Instances) -> None:
        self.version = __version__
        self.started_at = datetime.now(UTC)
        self.engine = engine
        self._instances = instances

    def cluster(self) -> ClusterFacts | None:
        """Return the facts of the cluster; None without one."""
        return None

    def libraries(self) -> dict[str, str]:
        """Return the installed environment libraries with their versions."""
        return installed()

    def sums(self) -> tuple[int, int]:
        """Return the number of live instances, and that of their steps."""
        instances = self._instances.all()
        return len(instances), sum(instance.steps for instance in instances)

    def newest(self, most: int) -> list[InstanceRow]:
        """Return a row for each of the newest live instances, the newest first."""
        return [_row(instance) for instance in self._instances.all()[: -most - 1 : -1]]

    def watchable(self, most: int) -> list[InstanceRow]:
        """Return a row for each of the newest live instances that give frames, the newest first."""
        rows = (_row(each) for each in reversed(self._instances.all()))
        return list(itertools.islice((row for row in rows if row.render_mode not in (None, "human")), most))

    def find(self, instance_id: str) -> InstanceRow | None:
        """Return the row of a live instance; None if there is none with that id."""
        instance = self._instances.find(instance_id)
        return None if instance is None else _row(instance)

    def find_closed(self, instance_id: str) -> ClosedInstance | None:
        """Return an instance that was closed; None if none with that id is remembered."""
        return self._instances.closed.find(instance_id)


def _row(instance: Instance) -> InstanceRow:
    made = instance.description
    return InstanceRow(
        instance_id=instance.instance_id,
        env_id=made.env_id,
        library=_library(made),
        engine=instance.engine,
        state=instance.state,
        steps=instance.steps,
        episodes=instance.episodes,
        created_at=instance.created_at,
        last_used_at=instance.last_used_at,
        num_envs=made.num_envs,
        name=instance.metadata.name,
        labels=instance.metadata.labels,
        render_mode=made.render_mode,
        version=instance.usage.version,
        origin=instance.metadata.origin,
    )


def _library(made: Description) -> str:
    return made.library if made.interpreter is None else f"{made.library} in {made.interpreter}"


@pages.get("/")
def home() -> str:
    """The home page: facts about the server, and its live instances, the newest first."""
    view = cast("ConsoleView", flask.current_app.extensions["console_view"])
    count, steps = view.sums()
    return flask.render_template(
        "home.html",
        version=view.version,
        engine=view.engine,
        started_at=view.started_at,
        libraries=view.libraries(),
        rows=view.newest(MAX_ROWS),
        count=count,
        steps=steps,
        cluster=view.cluster(),
        # The address that the client used; behind a proxy it is not where the server listens.
        address=flask.request.url_root.rstrip("/"),
    )


@pages.get("/ui/")
def operations() -> flask.Response:
    """Swagger UI, which lists every operation and sends requests."""
    return flask.make_response(flask.render_template("operations.html"), {"Content-Security-Policy": SWAGGER_UI_POLICY})


@pages.get("/ui/<any('swagger-ui-bundle.js', 'swagger-ui.css'):name>")
def swagger_ui_file(name: str) -> Response:
    """Return one of Swagger UI's files."""
    return flask.send_from_directory(str(swagger_ui_bundle.swagger_ui_path), name)


@pages.get("/contract", strict_slashes=False)
def contract() -> str:
    """The OpenAPI document, to read and to download."""
    text = load_contract().yaml_at(flask.request.script_root).decode()
    return flask.render_template("contract.html", text=text)


@pages.record_once
def _add_addresses(state: flask.blueprints.BlueprintSetupState) -> None:
    # For `url_for` only: the ASGI app serves these paths before Flask.
    state.add_url_rule("/openapi.<form>", "document", build_only=True)
    state.add_url_rule("/v1/evaluations/<evaluation_id>/", "evaluation", build_only=True)
    state.add_url_rule("/v1/evaluations/<evaluation_id>/files/", "evaluation_files", build_only=True)
    state.add_url_rule("/v1/evaluations/<evaluation_id>/dataset/", "dataset", build_only=True)
    state.add_url_rule("/v1/evaluations/<evaluation_id>/verify/", "verification", build_only=True)
    state.add_url_rule("/v1/evaluations/<evaluation_id>/episodes/<int:number>/", "episode", build_only=True)
    state.add_url_rule("/v1/recordings/details/", "recording", build_only=True)
    state.add_url_rule("/v1/recordings/files/", "recording_files", build_only=True)
    state.add_url_rule("/v1/recordings/dataset/", "recorded_dataset", build_only=True)
    state.add_url_rule("/v1/recordings/episodes/<int:number>/", "recorded_episode", build_only=True)
