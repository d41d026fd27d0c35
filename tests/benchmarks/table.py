"""The rows: what is measured, against which floor, and the bar it has to clear."""

from __future__ import annotations

from dataclasses import replace

from .connection import JSON, MSGPACK
from .figure import Difference, Remainder, busy, megabytes, p50, processor, rate
from .row import Bar, Row, at_least, at_least_times, at_most, at_most_over, at_most_times
from .servers import (
    ATARI,
    BARE,
    BLOCKING,
    CLUSTERS,
    GUEST,
    GUESTS,
    INLINE,
    ORIGINAL,
    PIPE,
    PIPED,
    PROCESS,
    WITHOUT_HOT_PATH,
    Kind,
)
from .subjects.batches import LocalBatch, RemoteBatch
from .subjects.crowd import Beside, HeldStep
from .subjects.load import Load
from .subjects.memory import Memory
from .subjects.rivals import DM_ENV_RPC, DM_ENV_RPC_CLIENT, OPENENV, OPENENV_CLIENT, OwnClientStep, WebSocketStep
from .subjects.steps import (
    PONG,
    AlternatingStep,
    ClientStep,
    Creation,
    LocalRollout,
    LocalStep,
    RemoteStep,
    Rollout,
    Step,
)
from .subjects.thinking import ThinkingStep
from .subjects.watched import FRAMES_A_SECOND, LocalFrame, WatchedStep

LANES = (1, 16, 256, 1024, 4096)
THINK_TIMES = {"0": 0.0, "100 µs": 100e-6, "1 ms": 1e-3, "10 ms": 10e-3}
THINK_TIMES_OF_MANY = {"0": 0.0, "1 ms": 1e-3}
CLIENTS = (1, 8, 64)
MANY_CLIENTS = 256
SPREAD_CLIENTS = (1, 2, 4, 8)
INSTANCES = (100, 1000)
USED_INSTANCES = 100
CROWD = 1000
CLUSTER_CLIENTS = 16
WEBSOCKET = "/openenv/CartPole-v1/ws"
PAGES = {"/metrics": "text/plain", "/v1/envs/": JSON, "/": "text/html"}

BARE_APP = "bare ASGI app, env inline"
BARE_APPS = "as many bare ASGI apps, one for each"
PIPED_APP = "bare ASGI app, env over a pipe"
BLOCKING_SERVER = "blocking server, env inline"
LOCAL = "the same locally"
WITHOUT_HANDOVER = "process without hand-over"


def table() -> list[Row]:
    """Return all rows, those of a group together."""
    return [
        *_steps(),
        *_think_times(),
        *_think_times_of_many(),
        *_alternating(),
        *_recording(),
        *_trajectories(),
        *_client(),
        *_rollouts(),
        *_batches(),
        *_pong(),
        *_load(),
        *_spread_load(),
        *_watched(),
        *_creation(),
        *_guests(),
        *_cluster(),
        *_crowd(),
        *_memory(),
        *_rivals(),
    ]


def _steps() -> list[Row]:
    group = "one step of CartPole"
    inline, process, pipe = Step(INLINE), Step(PROCESS), Step(PIPE)
    bare, piped = p50(Step(BARE)), p50(Step(PIPED))
    original, its_rate = "the original's style", rate(Step(ORIGINAL))
    return [
        Row(group, "inline, p50", "µs", p50(inline), BARE_APP, bare, at_most_times(1.25)),
        # The process that is handed the connection steps inline, too, and needs no event loop.
        Row(group, "process, p50", "µs", p50(process), BARE_APP, bare, at_most_times(0.65)),
        Row(group, f"{WITHOUT_HANDOVER}, p50", "µs", p50(pipe), PIPED_APP, piped, at_most_times(1.25)),
        Row(group, "inline, steps", "/s", rate(inline), original, its_rate, at_least_times(3)),
        Row(group, "process, steps", "/s", rate(process), original, its_rate, at_least_times(4)),
        Row(group, f"{WITHOUT_HANDOVER}, steps", "/s", rate(pipe), original, its_rate, at_least_times(2)),
        Row(group, "the original's style, p50", "µs", p50(Step(ORIGINAL)), BARE_APP, bare),
        Row(group, "inline without the hot path, p50", "µs", p50(Step(WITHOUT_HOT_PATH)), BARE_APP, bare),
    ]


def _think_times() -> list[Row]:
    group = "one step of CartPole, by how long the client thinks before it"
    rows = []
    for name, seconds in THINK_TIMES.items():
        figure, floor = ThinkingStep(PROCESS, seconds), ThinkingStep(BLOCKING, seconds)
        rows += [
            Row(group, f"{name}, process, p50", "µs", p50(figure), BLOCKING_SERVER, p50(floor), at_most_times(1.6)),
            Row(group, f"{name}, process, processor time", "µs", processor(figure), BLOCKING_SERVER, processor(floor)),
        ]
    return rows


def _think_times_of_many() -> list[Row]:
    group = "processor time of one step, many clients at once"
    rows = []
    for clients in CLIENTS[1:]:
        for name, seconds in THINK_TIMES_OF_MANY.items():
            figure, floor = (processor(Load(kind, clients, think_seconds=seconds)) for kind in (PROCESS, BLOCKING))
            rows.append(Row(group, f"{clients}, think {name}, process", "µs", figure, BLOCKING_SERVER, floor))
    return rows


def _recording() -> list[Row]:
    group, floor = "one step of CartPole, recorded without videos", "the same not recorded"
    return [
        Row(
            group,
            f"{name}, steps",
            "/s",
            rate(Step(kind, recorded="false")),
            floor,
            rate(Step(kind)),
            at_least_times(0.9),
        )
        for name, kind in (("process", PROCESS), ("inline", INLINE))
    ]


def _trajectories() -> list[Row]:
    group, floor, kinds = (
        "one step, recorded with trajectories",
        "the same not recorded",
        {"all": "true", "actions": '"actions"'},
    )
    cartpole, pong = Step(PROCESS), Step(ATARI, PONG, MSGPACK)
    return [
        Row(group, f"{name}, {kept}, steps", "/s", rate(replace(step, recorded=text)), floor, rate(step), bar)
        for name, step, bar in (("CartPole", cartpole, at_least_times(0.8)), ("Pong", pong, at_least_times(0.87)))
        for kept, text in kinds.items()
    ]


def _alternating() -> list[Row]:
    group = "one step of CartPole, two environments in turns on a connection"
    figure, floor = p50(AlternatingStep(PROCESS)), p50(AlternatingStep(PIPE))
    return [Row(group, "process, p50", "µs", figure, WITHOUT_HANDOVER, floor, at_most_times(1.05))]


def _client() -> list[Row]:
    group, raw_name, over = "Python client", "raw socket, the same format", at_most_over(40, "µs")
    json, msgpack = p50(Step(PROCESS)), p50(Step(PROCESS, accept=MSGPACK))
    pong, local_pong = p50(RemoteStep(ATARI, PONG)), p50(LocalStep(PONG))
    batch, local_batch = rate(RemoteBatch(PROCESS, 1024, packed=True)), rate(LocalBatch(1024))
    return [
        Row(group, "step_env, p50", "µs", p50(ClientStep(INLINE)), raw_name, p50(Step(INLINE)), at_most_over(60, "µs")),
        Row(group, "RemoteEnv.step, json, p50", "µs", p50(RemoteStep(PROCESS, packed=False)), raw_name, json, over),
        Row(group, "RemoteEnv.step, msgpack, p50", "µs", p50(RemoteStep(PROCESS)), raw_name, msgpack, over),
        Row(group, "RemoteEnv.step, Pong, p50", "µs", pong, LOCAL, local_pong, at_most_over(150, "µs")),
        Row(group, "RemoteVectorEnv.step, 1,024 lanes", "steps/s", batch, LOCAL, local_batch, at_least_times(0.45)),
    ]


def _rollouts() -> list[Row]:
    group, floor = "rollout, random policy, 1,000 steps", rate(LocalRollout())
    return [
        Row(group, f"{name}, msgpack", "steps/s", rate(Rollout(kind)), LOCAL, floor)
        for name, kind in (("inline", INLINE), ("process", PROCESS))
    ]


def _batches() -> list[Row]:
    bars = {(1024, True): at_least(1_500_000, "steps/s")}
    rows = [_batch(PROCESS, lanes, packed, bars.get((lanes, packed))) for lanes in LANES for packed in (True, False)]
    return [*rows, _batch(INLINE, 1024, True, None)]


def _batch(kind: Kind, lanes: int, packed: bool, bar: Bar | None) -> Row:
    what = f"{lanes:,} lane{'s' if lanes > 1 else ''}, {'msgpack' if packed else 'json'}"
    name = what if kind == PROCESS else f"{what} from an inline server"
    figure, floor = rate(RemoteBatch(kind, lanes, packed)), rate(LocalBatch(lanes))
    return Row("CartPole by RemoteVectorEnv", name, "steps/s", figure, LOCAL, floor, bar)


def _pong() -> list[Row]:
    group = "one frame of Pong, process"
    packed, plain = p50(Step(ATARI, PONG, MSGPACK)), p50(Step(ATARI, PONG, JSON))
    local, local_cartpole = p50(LocalStep(PONG)), p50(LocalStep())
    cartpole = p50(Step(ATARI, accept=MSGPACK))
    # The emulator takes its time with and without a server: the bar is about what a frame costs beside that.
    over, local_over = Difference(packed, cartpole), Difference(local, local_cartpole)
    return [
        Row(group, "msgpack, p50", "µs", packed, LOCAL, local),
        Row(group, "json, p50", "µs", plain, LOCAL, local),
        Row(group, "a step of CartPole, msgpack, p50", "µs", cartpole, LOCAL, local_cartpole),
        Row(group, "Pong over CartPole, msgpack", "µs", over, LOCAL, local_over, at_most_over(200, "µs")),
    ]


def _load() -> list[Row]:
    rows = []
    for name, kind, floor_name, floor, bar in (
        ("inline", INLINE, BARE_APP, BARE, at_least_times(0.8)),
        ("process", PROCESS, PIPED_APP, PIPED, at_least_times(1)),
        (WITHOUT_HANDOVER, PIPE, PIPED_APP, PIPED, at_least_times(0.8)),
    ):
        for clients in CLIENTS:
            figure, least = rate(Load(kind, clients)), rate(Load(floor, clients))
            its_bar = bar if kind == PROCESS or clients == max(CLIENTS) else None
            rows.append(Row("clients at once", f"{clients}, {name}", "requests/s", figure, floor_name, least, its_bar))
    group = f"{MANY_CLIENTS} clients at once"
    many, least_many = Load(PROCESS, MANY_CLIENTS), Load(PIPED, MANY_CLIENTS)
    return [
        *rows,
        Row(group, "process", "requests/s", rate(many), PIPED_APP, rate(least_many), at_least_times(1)),
        # Near 100, the figures are those of the clients.
        Row(group, "how busy the clients are, process", "%", busy(many), PIPED_APP, busy(least_many)),
    ]


def _spread_load() -> list[Row]:
    group = "clients at once, each on an instance of its own"
    rows = []
    for clients in SPREAD_CLIENTS:
        figure, floor = rate(Load(PROCESS, clients)), rate(Load(BARE, clients, is_spread=True))
        rows.append(Row(group, f"{clients}, process", "requests/s", figure, BARE_APPS, floor, at_least_times(1.2)))
    return rows


def _watched() -> list[Row]:
    group = f"one step of CartPole, a viewer fetches {FRAMES_A_SECOND} frames a second"
    floor = Remainder(rate(Step(PROCESS)), FRAMES_A_SECOND, rate(LocalFrame()))
    floor_name = "without viewer, less the time to render"
    return [Row(group, "process, steps", "/s", rate(WatchedStep(PROCESS)), floor_name, floor, at_least_times(0.95))]


def _creation() -> list[Row]:
    return [
        Row("create", "inline, p50", "µs", p50(Creation(INLINE)), BARE_APP, p50(Creation(BARE))),
        Row(
            "create",
            "process, p50",
            "µs",
            p50(Creation(PROCESS)),
            PIPED_APP,
            p50(Creation(PIPED)),
            at_most(25_000, "µs"),
        ),
    ]


def _guests() -> list[Row]:
    group, floor = "an environment of an interpreter", "one of the server's own Python"
    cartpole, own = p50(Step(GUESTS, interpreter=GUEST)), p50(Step(GUESTS))
    frame, own_frame = p50(Step(GUESTS, PONG, MSGPACK, interpreter=GUEST)), p50(Step(GUESTS, PONG, MSGPACK))
    creation = p50(Creation(GUESTS, GUEST))
    return [
        Row(group, "a step of CartPole, p50", "µs", cartpole, floor, own, at_most_over(60, "µs")),
        Row(group, "a step of Pong, a frame, p50", "µs", frame, floor, own_frame, at_most_over(150, "µs")),
        Row(
            group,
            "a creation after the first, p50",
            "µs",
            creation,
            floor,
            p50(Creation(GUESTS)),
            at_most(60_000, "µs"),
        ),
    ]


def _cluster() -> list[Row]:
    group, floor, router = "a cluster", "one server", CLUSTERS[1]
    direct, local = p50(RemoteStep(router)), p50(RemoteStep(PROCESS))
    through, pipe = p50(Step(router)), p50(Step(PIPE))
    tunnel = p50(WebSocketStep(router, WEBSOCKET))
    creation, own_creation = p50(Creation(router)), p50(Creation(PROCESS))
    many, many_pipe = Load(router, CLUSTER_CLIENTS), Load(PIPE, CLUSTER_CLIENTS)
    return [
        Row(group, "a step directly, RemoteEnv, p50", "µs", direct, floor, local, at_most_times(1.1)),
        Row(group, "a step through the router, p50", "µs", through, WITHOUT_HANDOVER, pipe, at_most_times(2)),
        Row(
            group, "OpenEnv's WebSocket through the router, p50", "µs", tunnel, WITHOUT_HANDOVER, pipe, at_most_times(2)
        ),
        Row(group, "a creation, p50", "µs", creation, floor, own_creation, at_most_over(5000, "µs")),
        *(
            Row(
                f"{CLUSTER_CLIENTS} clients of a cluster",
                f"{shards} shard{'s' if shards > 1 else ''}, through the router",
                "requests/s",
                rate(Load(kind, CLUSTER_CLIENTS)),
                WITHOUT_HANDOVER,
                rate(many_pipe),
            )
            for shards, kind in CLUSTERS.items()
        ),
        Row(
            f"{CLUSTER_CLIENTS} clients of a cluster",
            "processor time of a step, router and shard",
            "µs",
            processor(many),
            WITHOUT_HANDOVER,
            processor(many_pipe),
        ),
    ]


def _crowd() -> list[Row]:
    group, floor = f"beside {CROWD:,} idle instances", "the same without them"
    step, creation = Step(PROCESS), Creation(PROCESS)
    step_beside, creation_beside = Beside(CROWD, step), Beside(CROWD, creation)
    rows = [
        Row(group, "a step, p50", "µs", p50(step_beside), floor, p50(step), at_most_times(1.05)),
        Row(group, "a creation, p50", "µs", p50(creation_beside), floor, p50(creation), at_most_times(1.2)),
    ]
    group = f"the longest step through the server beside {CROWD:,} idle instances"
    alone = p50(Beside(CROWD, Step(PIPE)))
    for path, accept in PAGES.items():
        held = p50(Beside(CROWD, HeldStep(PIPE, path, accept)))
        rows.append(Row(group, f"while it answers {path}", "µs", held, "a step, p50", alone, at_most(20_000, "µs")))
    return rows


def _memory() -> list[Row]:
    rows = [_weight(f"memory of {each:,} live instances", each, False, at_most(8, "MB")) for each in INSTANCES]
    group = f"memory of {USED_INSTANCES:,} live instances with a connection each"
    return [*rows, _weight(group, USED_INSTANCES, True, at_most(8, "MB"))]


def _weight(group: str, instances: int, is_used: bool, bar: Bar) -> Row:
    figure, floor = (megabytes(Memory(kind, instances, is_used)) for kind in (PROCESS, PIPED))
    return Row(group, "private, each", "MB", figure, PIPED_APP, floor, bar)


def _rivals() -> list[Row]:
    group = "one step of CartPole beside servers of other projects"
    raw, client = p50(Step(PROCESS)), p50(RemoteStep(PROCESS, packed=False))
    packed = p50(RemoteStep(PROCESS))
    openenv = p50(OwnClientStep(OPENENV, OPENENV_CLIENT))
    dm_env_rpc = p50(OwnClientStep(DM_ENV_RPC, DM_ENV_RPC_CLIENT))
    face, their_socket = p50(WebSocketStep(PROCESS, WEBSOCKET)), "OpenEnv, WebSocket by raw socket"
    piped = p50(Step(PIPE))
    return [
        Row(group, "process by raw socket, p50", "µs", raw, their_socket, p50(WebSocketStep())),
        Row(group, "OpenEnv's WebSocket here, p50", "µs", face, their_socket, p50(WebSocketStep()), at_most_times(0.5)),
        Row(
            group,
            "OpenEnv's WebSocket here, beside a step over HTTP, p50",
            "µs",
            face,
            WITHOUT_HANDOVER,
            piped,
            at_most_times(1.3),
        ),
        Row(group, "process by RemoteEnv, json, p50", "µs", client, "OpenEnv, its synchronous client", openenv),
        Row(group, "process by RemoteEnv, msgpack, p50", "µs", packed, "dm-env-rpc, its client", dm_env_rpc),
    ]
