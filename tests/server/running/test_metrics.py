"""What `/metrics` tells: every request once, wherever it was answered, and nothing that is forgotten with an instance."""

from __future__ import annotations

import math
import platform
import random
from collections.abc import Iterator

import prometheus_client.parser
import pytest

from gym_http_server import __version__
from gym_http_server.api.telemetry.metrics import Metrics
from gym_http_server.app import Application
from gym_http_server.config import Settings
from gym_http_server.engines import make_engine
from gym_http_server.instances.directory import Instances
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.shared.traffic import BOUNDS, NONE, Traffic
from tests.conftest import KINDS, start
from tests.support.handing import TROUBLE, Client, get, post, step
from tests.support.refused import REFUSED, TIME_OUTS
from tests.support.serving import Server, eventually, raw

PREFIX = "gym_http_server_"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """The samples of one text."""

    def __init__(self, text: str) -> None:
        self.samples: Samples = {}
        self.kinds: dict[str, str] = {}
        for family in prometheus_client.parser.text_string_to_metric_families(text):
            for each in family.samples:
                key = each.name, frozenset(each.labels.items())
                assert key not in self.samples
                self.samples[key] = each.value
                self.kinds[each.name] = family.type

    def __call__(self, name: str, **labels: str) -> float:
        return self.samples.get((PREFIX + name, frozenset(labels.items())), 0.0)

    def statuses(self, operation: str) -> dict[str, float]:
        found = {key: value for key, value in self.samples.items() if key[0] == f"{PREFIX}requests_total"}
        told = [(dict(labels), value) for (_, labels), value in found.items()]
        return {labels["status"]: value for labels, value in told if labels["operation"] == operation}

    def counters(self) -> Samples:
        return {key: value for key, value in self.samples.items() if self.kinds[key[0]] in ("counter", "histogram")}


def scrape(server: Server) -> Scrape:
    answer = server.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    return Scrape(answer.body.decode())


@pytest.fixture(params=KINDS)
def fresh(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind that nobody else uses."""
    with start(request.param) as running:
        yield running


def test_every_request_is_counted_once_by_operation_and_status(fresh: Server) -> None:
    """Operations of the training loop and others, good requests and bad, those of no operation and of no instance."""
    env = fresh.create()
    bodies: dict[str, list[bytes]] = {"resetEnv": [b"{}"], "stepEnv": []}
    replies: dict[str, list[bytes]] = {"resetEnv": [fresh.post(f"{env}/reset/", b"{}").body], "stepEnv": []}
    # The last two are no JSON and no media type that is read, and fall through to the whole stack.
    plain = {"Content-Type": "application/json"}
    steps = [b'{"action": 1}', b'{"action": 0}', b'{"action": 7}', b'{"acton": 1}', b"{"]
    for body in steps:
        bodies["stepEnv"].append(body)
        replies["stepEnv"].append(fresh.post(f"{env}/step/", body, headers=plain).body)
    bodies["stepEnv"].append(b"1")
    replies["stepEnv"].append(fresh.post(f"{env}/step/", b"1", headers={"Content-Type": "text/css"}).body)
    gone = fresh.post("/v1/envs/00000000/step/", b'{"action": 1}', headers=plain)
    bodies["stepEnv"].append(b'{"action": 1}')
    replies["stepEnv"].append(gone.body)
    assert gone.status == 400
    assert fresh.get(f"{env}/action_space/sample/").status == 200
    assert fresh.get(f"{env}/").status == 200
    assert fresh.get("/v1/envs/00000000/").status == 400
    assert fresh.get("/v1/nonsense/").status == 404
    assert fresh.request("PUT", "/v1/envs/").status == 405
    assert fresh.request("DELETE", "/metrics").status == 405
    told = scrape(fresh)
    assert told.statuses("createEnv") == {"200": 1}
    assert told.statuses("resetEnv") == {"200": 1}
    assert told.statuses("stepEnv") == {"200": 2, "400": 4, "415": 1}
    assert told.statuses("sampleAction") == {"200": 1}
    assert told.statuses("getEnv") == {"200": 1, "400": 1}
    assert told.statuses("none") == {"404": 1, "405": 2}
    for operation, sent in bodies.items():
        assert told("received_bytes_total", operation=operation) == sum(map(len, sent))
        assert told("sent_bytes_total", operation=operation) == sum(map(len, replies[operation]))
    assert scrape(fresh).statuses("getMetrics") == {"200": 1}


def test_a_histogram_has_each_request_of_its_operation(fresh: Server) -> None:
    """Its count is that of all statuses together, its buckets are those of the server, and its sum is a time."""
    env = fresh.create()
    for action in (0, 1, 7):
        fresh.post(f"{env}/step/", {"action": action})
    fresh.get("/v1/envs/")
    told = scrape(fresh)
    for operation in ("createEnv", "stepEnv", "listEnvs"):
        count = sum(told.statuses(operation).values())
        assert told("request_seconds_count", operation=operation) == count > 0
        buckets = {
            float(dict(labels)["le"]): value
            for (name, labels), value in told.samples.items()
            if name == f"{PREFIX}request_seconds_bucket" and dict(labels)["operation"] == operation
        }
        assert list(buckets.values()) == sorted(buckets.values())
        assert buckets.pop(math.inf) == count
        assert list(buckets) == pytest.approx(list(BOUNDS))
        assert 0 < told("request_seconds_sum", operation=operation) < 60 * count


def test_instances_steps_and_episodes_are_counted_before_and_after_their_end(fresh: Server) -> None:
    """By state while they live; and what they have done stays when they are closed."""
    first, second = fresh.create(max_episode_steps=2), fresh.create()
    for env in (first, second):
        fresh.post(f"{env}/reset/", {})
        for _ in range(2):
            fresh.post(f"{env}/step/", {"action": 0})
    before = scrape(fresh)
    assert before("instances", state="ready") == 2
    assert (before("steps_total"), before("episodes_total")) == (4, 1)
    for env in (first, second):
        assert fresh.request("DELETE", f"{env}/").status == 200
    after = scrape(fresh)
    assert [after("instances", state=state) for state in ("ready", "busy", "lost")] == [0, 0, 0]
    assert (after("steps_total"), after("episodes_total")) == (4, 1)
    assert (after("instances_created_total"), after("instances_closed_total")) == (2, 2)
    assert (after("instances_lost_total"), after("instances_reaped_total")) == (0, 0)
    assert after.statuses("stepEnv") == {"200": 4}
    engine = fresh.get("/v1/health/").json["engine"]
    assert after("build_info", version=__version__, engine=engine, python=platform.python_version())
    assert after.samples["process_resident_memory_bytes", frozenset()] > 1 << 20


def test_a_lost_instance_is_counted_once(process_server: Server) -> None:
    """While it is still there, and when it has been closed."""
    before = scrape(process_server)
    env = process_server.create(TROUBLE)
    process_server.post(f"{env}/reset/")
    assert process_server.post(f"{env}/step/", {"action": "exit 3"}).status == 502
    there = eventually(lambda: (told := scrape(process_server))("instances", state="lost") and told)
    process_server.request("DELETE", f"{env}/")
    after = scrape(process_server)
    for each, closed in ((there, 0), (after, 1)):
        assert each("instances_lost_total") - before("instances_lost_total") == 1
        assert each("instances_closed_total") - before("instances_closed_total") == closed
        assert each("steps_total") - before("steps_total") == there("steps_total") - before("steps_total")
        assert each.statuses("stepEnv")["502"] - before.statuses("stepEnv").get("502", 0) == 1
    assert after("instances", state="lost") == before("instances", state="lost")


def test_a_busy_instance_is_counted_as_such(process_server: Server) -> None:
    """The metrics do not wait for an environment."""
    with Client(process_server) as client:
        env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': TROUBLE})).json['instance_id']}"
        client.ask(post(f"{env}/reset/", {}))
        client.send(step(env, "sleep 1"))
        eventually(lambda: scrape(process_server)("instances", state="busy") == 1)
        assert client.answer().status == 200
    assert scrape(process_server)("instances", state="busy") == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_counter_ever_decreases(kind: str, seed: int) -> None:
    """Over a random session with closes and deaths each is at least what it was, and every request is there in the end."""
    chance = random.Random(seed)
    envs: list[str] = []
    counted = {"stepEnv": 0, "createEnv": 0, "deleteEnv": 0, "resetEnv": 0}
    deaths = 0
    with start(kind) as server, Client(server) as client:
        before: Samples = {}
        for _ in range(120):
            what = chance.choice(["create", "step", "step", "step", "reset", "close", "die", "scrape", "scrape"])
            if what == "create" or not envs:
                created = client.ask(post("/v1/envs/", {"env_id": TROUBLE}))
                envs.append(f"/v1/envs/{created.json['instance_id']}")
                client.ask(post(f"{envs[-1]}/reset/", {}))
                counted["createEnv"] += 1
                counted["resetEnv"] += 1
                continue
            env = chance.choice(envs)
            if what == "step":
                for _ in range(chance.randrange(4)):
                    client.ask(step(env, "x"))
                    counted["stepEnv"] += 1
            elif what == "reset":
                client.ask(post(f"{env}/reset/", {}))
                counted["resetEnv"] += 1
            elif what == "close":
                envs.remove(env)
                client.ask(f"DELETE {env}/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                counted["deleteEnv"] += 1
            elif what == "die" and kind != "inline":
                deaths += client.ask(step(env, "exit 3")).status == 502
                counted["stepEnv"] += 1
            else:
                now = Scrape(client.ask(get("/metrics")).body.decode()).counters()
                assert not {key: (value, now.get(key)) for key, value in before.items() if now.get(key, -1.0) < value}
                before = now
        told = Scrape(client.ask(get("/metrics")).body.decode())
        assert {each: sum(told.statuses(each).values()) for each in counted} == counted
        assert told("instances_created_total") == counted["createEnv"]
        assert told("instances_closed_total") == counted["deleteEnv"]
        assert told("instances_lost_total") == deaths
        assert sum(told("instances", state=state) for state in ("ready", "busy", "lost")) == len(envs)


async def test_what_is_closed_at_the_end_is_in_the_totals() -> None:
    """Each instance once, its steps and requests with it, and what a request adds that is answered after that."""
    settings = Settings(engine="inline")
    engine = make_engine(settings)
    await engine.start()
    instances = Instances(settings, engine, Traffic(operations=("createEnv", "stepEnv", NONE)))
    made = [await instances.create(CreateRequest("CartPole-v1")) for _ in range(3)]
    counts = instances.traffic(made[0].instance_id)
    for each in made:
        await each.call("reset", {})
        await each.call("step", {"action": 0})
        each.traffic.count("stepEnv", 200, 0.001, 1, 2)
    metrics = Metrics(instances)
    before = Scrape((await metrics.text()).decode())
    await instances.close(made[0].instance_id)
    await instances.close_all()
    counts.count("stepEnv", 400, 0.001, 1, 2)
    after = Scrape((await metrics.text()).decode())
    assert (before("steps_total"), after("steps_total")) == (3, 3)
    assert (before("instances", state="ready"), after("instances", state="ready")) == (3, 0)
    assert (before("instances_closed_total"), after("instances_closed_total")) == (0, 3)
    assert (before.statuses("stepEnv"), after.statuses("stepEnv")) == ({"200": 3}, {"200": 3, "400": 1})


def test_what_is_refused_at_the_door_is_counted(server: Server) -> None:
    """Foreign origins and unknown hosts are counted without an operation, with what they were answered."""
    before = scrape(server)
    sent = 0
    for headers, status in (({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example"}, 400)):
        answer = server.get("/v1/envs/", headers=headers)
        assert answer.status == status
        sent += len(answer.body)
    after = scrape(server)
    for status in ("400", "403"):
        assert after.statuses("none")[status] == before.statuses("none").get(status, 0) + 1
    assert after("sent_bytes_total", operation="none") - before("sent_bytes_total", operation="none") == sent


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_protocol_refuses_is_counted(kind: str) -> None:
    """Heads and bodies that come too late, are too long or no HTTP are counted without an operation, each once."""
    with start(kind, *TIME_OUTS) as server:
        env = server.create()
        server.post(f"{env}/reset/")
        before = scrape(server).statuses("none")
        for _, data in REFUSED.values():
            raw(server.address, data)
        with Client(server) as client:  # on a connection that an environment's process may have
            for _ in range(2):
                assert client.ask(post(f"{env}/reset/", {})).status == 200
            assert client.ask(post(f"{env}/reset/", {})[:-1]).status == 408
        after = scrape(server).statuses("none")
    told = {status: count - before.get(status, 0) for status, count in after.items()}
    assert told == {"408": 3, "400": 3, "431": 1}


async def test_two_servers_in_one_process_count_for_themselves() -> None:
    """Nothing that is counted is global."""
    one, other = (Application(Settings(engine="inline", upload_to="memory://")) for _ in range(2))
    one.instances.totals.traffic.count("none", 401, 0.0, 0, 10)
    one.instances.totals.reaped += 1
    told, nothing = [Scrape((await Metrics(each.instances).text()).decode()) for each in (one, other)]
    assert told.statuses("none") == {"401": 1}
    assert told("sent_bytes_total", operation="none") == 10
    assert told("instances_reaped_total") == 1
    assert not nothing.statuses("none")
    assert nothing("instances_reaped_total") == 0
