"""What every engine does, over a real socket: one suite, run against each."""

from __future__ import annotations

import io
import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from tests.support.serving import Server, raw, threads


def test_a_session_creates_resets_steps_and_closes(server: Server) -> None:
    """The first thing that every client does works from create to close."""
    created = server.post("/v1/envs/", {"env_id": "CartPole-v1", "seed": 0})
    assert created.status == 200
    assert created.json["env_id"] == "CartPole-v1"
    assert created.json["library"].startswith("gymnasium ")
    env = f"/v1/envs/{created.json['instance_id']}"
    assert len(server.post(f"{env}/reset/").json["observation"]) == 4
    stepped = server.post(f"{env}/step/", {"action": 1}).json
    assert stepped["reward"] == 1.0
    assert (stepped["done"], stepped["terminated"], stepped["truncated"], stepped["info"]) == (False, False, False, {})
    assert server.post(f"{env}/close/").json == {}
    assert server.post(f"{env}/step/", {"action": 1}).status == 400


def test_the_same_path_with_and_without_its_final_slash_is_the_same_operation(server: Server) -> None:
    """Every operation is answered directly in both forms, never by a redirect."""
    for slash in ("", "/"):
        created = server.post(f"/v1/envs{slash}", {"env_id": "CartPole-v1"})
        env = f"/v1/envs/{created.json['instance_id']}"
        assert server.get(f"/v1/envs{slash}").status == 200
        assert server.get(f"{env}{slash}").status == 200
        assert server.post(f"{env}/reset{slash}").status == 200
        assert server.post(f"{env}/step{slash}", {"action": 0}).status == 200
        assert server.get(f"{env}/render{slash}").status == 200
        assert server.get(f"{env}/transitions{slash}").status == 409
        snapshot = server.post(f"{env}/snapshots{slash}").json["snapshot_id"]
        assert server.get(f"{env}/snapshots{slash}").json["snapshots"][0]["snapshot_id"] == snapshot
        assert server.post(f"{env}/snapshots/{snapshot}/restore{slash}").status == 200
        assert server.request("DELETE", f"{env}/snapshots/{snapshot}{slash}").json == {}
        for space in ("action_space", "observation_space"):
            assert server.get(f"{env}/{space}{slash}").status == 200
        assert server.get(f"{env}/action_space/sample{slash}").status == 200
        assert server.get(f"{env}/action_space/contains/1{slash}").json == {"member": True}
        assert server.post(f"{env}/action_space/contains{slash}", {"action": 1}).json == {"member": True}
        assert server.post(f"{env}/observation_space/contains{slash}", {"name": "Box"}).json == {"member": True}
        assert server.get(f"/v1/health{slash}").status == 200
        assert server.request("DELETE", f"{env}{slash}").json == {}


def test_an_instance_is_described_with_its_use(server: Server) -> None:
    """The description counts steps and episodes and dates the last use."""
    before = datetime.now(UTC)
    env = server.create("tests/Short-v0", seed=1)
    server.post(f"{env}/reset/")
    for _ in range(3):
        last = server.post(f"{env}/step/", {"action": "x"}).json
    assert (last["done"], last["terminated"], last["truncated"]) == (True, False, True)
    found = server.get(f"{env}/").json
    assert (found["steps"], found["episodes"], found["state"]) == (3, 1, "ready")
    assert found["instance_id"] in env
    assert found["render_mode"] == "rgb_array"
    assert found["action_space"]["name"] == "Text"
    created, used = (datetime.fromisoformat(found[key]) for key in ("created_at", "last_used_at"))
    assert before.timestamp() - 1 < created.timestamp() < used.timestamp() <= datetime.now(UTC).timestamp()


def test_the_list_has_every_live_instance_under_both_names(server: Server) -> None:
    """`envs` and `all_envs` are the same object of instance id to environment id."""
    env = server.create("Acrobot-v1")
    listed = server.get("/v1/envs/").json
    assert listed["envs"] == listed["all_envs"]
    assert listed["envs"][env.rsplit("/", 1)[1]] == "Acrobot-v1"
    server.post(f"{env}/close/")
    assert env.rsplit("/", 1)[1] not in server.get("/v1/envs/").json["envs"]


def test_zero_is_a_seed_and_makes_sampling_and_reset_repeatable(server: Server) -> None:
    """Two instances made with the seed 0 start alike and sample alike."""
    twins = [server.create("CartPole-v1", seed=0) for _ in range(2)]
    first, second = (
        [server.post(f"{env}/reset/").body] + [server.get(f"{env}/action_space/sample").body for _ in range(20)]
        for env in twins
    )
    assert first == second
    again = [server.post(f"{env}/reset/", {"seed": 0}).body for env in twins]
    assert again == [first[0], first[0]]


def test_the_seed_of_the_creation_is_for_the_first_reset_only(server: Server) -> None:
    """A second reset without a seed starts another episode, the same one in both twins."""
    twins = [server.create("CartPole-v1", seed=7) for _ in range(2)]
    starts = [[server.post(f"{env}/reset/").body for _ in range(2)] for env in twins]
    assert starts[0] == starts[1]
    assert starts[0][0] != starts[0][1]


def test_kwargs_and_the_other_options_reach_the_environment(server: Server) -> None:
    """kwargs are the constructor's, max_episode_steps truncates, render_mode is taken."""
    options = {"kwargs": {"map_name": "8x8", "is_slippery": False}, "max_episode_steps": 2, "render_mode": "ansi"}
    env = server.create("FrozenLake-v1", **options)
    assert server.get(f"{env}/observation_space/").json["info"]["n"] == 64
    assert server.post(f"{env}/reset/").json["observation"] == 0
    assert server.post(f"{env}/step/", {"action": 1}).json["truncated"] is False
    assert server.post(f"{env}/step/", {"action": 1}).json["truncated"] is True
    assert server.get(f"{env}/").json["render_mode"] == "ansi"


def test_reset_options_reach_the_environment_and_bad_ones_are_the_callers(server: Server) -> None:
    """Options of reset narrow CartPole's start; those that it refuses are a 400 in its own words."""
    env = server.create()
    start = server.post(f"{env}/reset/", {"options": {"low": 0.0, "high": 0.0001}}).json["observation"]
    assert all(0 <= each <= 0.0001 for each in start)
    refused = server.post(f"{env}/reset/", {"options": {"low": "x"}})
    assert refused.status == 400
    assert server.post(f"{env}/reset/").status == 200


def test_a_retired_id_is_served_by_its_successor_and_says_so(server: Server) -> None:
    """FrozenLake-v0 gives FrozenLake-v1, named in the reply and in a Warning header."""
    created = server.post("/v1/envs/", {"env_id": "FrozenLake-v0"})
    assert created.json["env_id"] == "FrozenLake-v1"
    assert created.headers["warning"].startswith('299 - "')
    assert "FrozenLake-v0" in created.headers["warning"]
    assert "warning" not in server.post("/v1/envs/", {"env_id": "FrozenLake-v1"}).headers


@pytest.mark.parametrize(
    "env_id",
    ["Nope-v0", "bad id!", "", "CartPole-v99", "gym_http_server/Remote-v0", "os:system-v0", "tests.secret:Env-v0"],
)
def test_an_unknown_or_malformed_id_is_a_400_that_says_so(server: Server, env_id: str) -> None:
    """The message holds the words that the original used."""
    answer = server.post("/v1/envs/", {"env_id": env_id})
    assert answer.status == 400
    assert "malformed environment ID" in answer.message or not env_id


def test_a_constructor_that_refuses_is_a_400_in_its_own_words(server: Server) -> None:
    """The caller reads what the constructor raised."""
    answer = server.post("/v1/envs/", {"env_id": "tests/Troublemaker-v0", "kwargs": {"construct": "raise no good"}})
    assert answer.status == 400
    assert "no good" in answer.message
    answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "kwargs": {"nonsense": 1}})
    assert answer.status == 400
    assert "nonsense" in answer.message
    answer = server.post("/v1/envs/", {"env_id": "tests/Troublemaker-v0", "kwargs": {"construct": "sys_exit"}})
    assert answer.status == 400


def test_a_library_can_be_asked_for(server: Server) -> None:
    """`library: gym` has Gym make an id that both register."""
    created = server.post("/v1/envs/", {"env_id": "CartPole-v0", "library": "gym"}).json
    assert created["library"] == "gym 0.26.2"
    created = server.post("/v1/envs/", {"env_id": "CartPole-v0"}).json
    assert created["library"].startswith("gymnasium")
    refused = server.post("/v1/envs/", {"env_id": "CartPole-v0", "library": "dm_control"})
    assert refused.status == 400


@pytest.mark.parametrize("action", [2, -1, "1", 0.5, [0], None, True, {}, 2**63, 1e300])
def test_an_action_outside_of_the_space_is_a_400_that_names_both(server: Server, action: Any) -> None:
    """The message names the action space and the value; the instance goes on."""
    env = server.create()
    server.post(f"{env}/reset/")
    answer = server.post(f"{env}/step/", {"action": action})
    assert answer.status == 400
    assert "Discrete(2)" in answer.message
    assert "action" in answer.message
    assert server.post(f"{env}/step/", {"action": 1}).status == 200
    assert server.get(f"{env}/").json["steps"] == 1


@pytest.mark.parametrize("action", [[1], 1, [1.0], 1.0, 0, [0.5]])
def test_integers_and_a_scalar_are_taken_for_a_float_box_of_one_element(server: Server, action: Any) -> None:
    """What Haskell, Lua and MATLAB send for `[1.0]` is taken as that."""
    env = server.create("Pendulum-v1")
    server.post(f"{env}/reset/")
    assert server.post(f"{env}/step/", {"action": action}).status == 200


@pytest.mark.parametrize("action", [[3.0], 3, [0.1, 0.2], "0.1", [[0.1]], None, ["a"]])
def test_what_is_not_in_a_box_is_refused(server: Server, action: Any) -> None:
    """Out of bounds, wrong shape and wrong type are 400."""
    env = server.create("Pendulum-v1")
    server.post(f"{env}/reset/")
    answer = server.post(f"{env}/step/", {"action": action})
    assert answer.status == 400 or action == [[0.1]]
    if answer.status == 400:
        assert "Box(" in answer.message


def test_step_before_reset_is_a_409(server: Server) -> None:
    """The message says to reset first, and after a reset the same step is taken."""
    env = server.create()
    answer = server.post(f"{env}/step/", {"action": 0})
    assert answer.status == 409
    assert "reset" in answer.message
    server.post(f"{env}/reset/")
    assert server.post(f"{env}/step/", {"action": 0}).status == 200


def test_falsy_actions_are_values_and_a_missing_one_is_named(server: Server) -> None:
    """0 and "" are actions where the space has them; no action at all is a 400 that names it."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    assert server.post(f"{env}/step/", {"action": ""}).json["observation"] == 1
    missing = server.post(f"{env}/step/", {"render": False})
    assert missing.status == 400
    assert "action" in missing.message


def test_render_true_is_served_on_a_machine_without_a_display(server: Server) -> None:
    """A step that asks to be shown is taken, and no window is opened."""
    env = server.create()
    server.post(f"{env}/reset/")
    assert server.post(f"{env}/step/", {"action": 1, "render": True}).status == 200


def test_values_without_a_json_form_come_as_the_contract_says(server: Server) -> None:
    """NaN is null, infinities are ±1e100, and what has no JSON form is its text."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    answer = server.post(f"{env}/step/", {"action": "weird_info"})
    assert answer.status == 200
    info = answer.json["info"]
    assert (info["nan"], info["inf"], info["minus_inf"]) == (None, 1e100, -1e100)
    assert info["array"] == [1.5, None, 1e100]
    assert (info["scalar"], info["bool"]) == (7, True)
    assert info["nested"] == {"tuple": [1, [2.0, None]]}
    assert info["7"] == "a key that is a number"
    assert isinstance(info["object"], str)


def test_a_reward_that_is_not_a_number_is_null(server: Server) -> None:
    """A reward of NaN comes as null, as the contract declares."""
    env = server.create("tests/Everything-v0", seed=3)
    server.post(f"{env}/reset/")
    action = server.get(f"{env}/action_space/sample").json["action"]
    assert server.post(f"{env}/step/", {"action": action}).json["reward"] is None


def test_every_kind_of_space_goes_there_and_back(server: Server) -> None:
    """A sampled action of every kind of space is a member, and comes back unchanged as an observation."""
    env = server.create("tests/Everything-v0", seed=5)
    info = server.get(f"{env}/action_space/").json["info"]
    assert info["name"] == "Dict"
    assert list(info["spaces"]) == info["keys"]
    server.post(f"{env}/reset/", {"seed": 1})
    for _ in range(20):
        action = server.get(f"{env}/action_space/sample").json["action"]
        assert server.post(f"{env}/action_space/contains", {"action": action}).json == {"member": True}
        assert server.get(f"{env}/action_space/contains/{quote_json(action)}").json == {"member": True}
        observed = server.post(f"{env}/step/", {"action": action}).json["observation"]
        assert observed == action
        assert server.post(f"{env}/observation_space/contains", {"observation": observed}).json == {"member": True}


def quote_json(value: Any) -> str:
    import json

    return quote(json.dumps(value), safe="")


@pytest.mark.parametrize(
    ("x", "member"),
    [
        ("1", True),
        ("2", False),
        ("%5B0.1,%200.2%5D", False),
        ("-1", False),
        ("%22a%22", False),
        ("a%2Fb", None),
        ("%5B%0A1%0A%5D", False),
        ("%0A1%0A", True),
        ("nope", None),
    ],
)
def test_contains_reads_the_value_from_the_path(server: Server, x: str, member: bool | None) -> None:
    """URL-encoded JSON is checked; what is not JSON is a 400 that says what x is to be."""
    env = server.create()
    answer = server.get(f"{env}/action_space/contains/{x}")
    if member is None:
        assert answer.status == 400
        assert "x is to be" in answer.message
    else:
        assert answer.json == {"member": member}


def test_a_text_with_a_slash_can_be_checked_in_the_path(server: Server) -> None:
    """%2F in the path is part of the value."""
    env = server.create("tests/Troublemaker-v0")
    assert server.get(f"{env}/action_space/contains/%22a%2Fb%22").json == {"member": False}
    assert server.get(f"{env}/action_space/contains/%22ab%22").json == {"member": True}


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"name": "Box"}, True),
        ({"name": "Discrete"}, False),
        ({"shape": [4]}, True),
        ({"shape": [5]}, False),
        ({"name": "Box", "shape": [4]}, True),
        ({"unknown": 1}, False),
        ({}, True),
        ({"observation": [0, 0, 0, 0]}, True),
        ({"observation": [9, 0, 0, 0]}, False),
    ],
)
def test_observation_space_contains_compares_members_or_checks_a_value(server: Server, body: Any, member: bool) -> None:
    """Without `observation` the members are compared with the description; with it the value is checked."""
    env = server.create()
    assert server.post(f"{env}/observation_space/contains", body).json == {"member": member}


def test_the_frame_comes_in_the_type_that_accept_prefers(server: Server) -> None:
    """PNG by default, also where only errors are asked for, JPEG where preferred, and 406 where the mode cannot give it."""
    env = server.create()
    assert server.get(f"{env}/render/").status == 409
    server.post(f"{env}/reset/")
    for accept, kind in (
        (None, "PNG"),
        ("*/*", "PNG"),
        ("image/jpeg", "JPEG"),
        ("image/png;q=0.5, image/jpeg", "JPEG"),
        ("image/*", "PNG"),
        ("application/problem+json", "PNG"),
    ):
        answer = server.get(f"{env}/render/", headers={"Accept": accept} if accept else {})
        picture = Image.open(io.BytesIO(answer.body))
        assert (picture.format, picture.size) == (kind, (600, 400))
        assert answer.headers["content-type"] == f"image/{kind.lower()}"
    refused = server.get(f"{env}/render/", headers={"Accept": "text/plain"})
    assert refused.status == 406
    assert "rgb_array" in refused.message


def test_a_text_mode_renders_as_text(server: Server) -> None:
    """Render mode `ansi` gives text/plain."""
    env = server.create("FrozenLake-v1", render_mode="ansi")
    server.post(f"{env}/reset/")
    answer = server.get(f"{env}/render/")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "FHFH" in answer.body.decode()
    assert server.get(f"{env}/render/", headers={"Accept": "image/png"}).status == 406


def test_an_environment_without_a_render_mode_is_a_409(server: Server) -> None:
    """The message advises no render mode, for the environment has none."""
    env = server.create("tests/Everything-v0")
    server.post(f"{env}/reset/")
    answer = server.get(f"{env}/render/")
    assert answer.status == 409
    assert "no render mode that gives a frame" in answer.message
    assert "rgb_array" not in answer.message


def test_an_exception_in_a_step_is_a_502_and_the_instance_goes_on(server: Server) -> None:
    """The caller reads what the environment raised, and steps on."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    for action, words in (("raise bad luck", "bad luck"), ("sys_exit", "SystemExit")):
        answer = server.post(f"{env}/step/", {"action": action})
        assert answer.status == 502
        assert words in answer.message
    assert server.post(f"{env}/step/", {"action": "fine"}).status == 200


def test_a_restored_state_has_the_same_future(server: Server) -> None:
    """What is stepped and sampled after a restoration is what was stepped and sampled after the snapshot."""
    env = server.create("FrozenLake-v1", seed=3)
    observed = server.post(f"{env}/reset/").json["observation"]
    snapshot = server.post(f"{env}/snapshots/").json["snapshot_id"]

    def play() -> list[bytes]:
        told = []
        for _ in range(12):
            action = server.get(f"{env}/action_space/sample").json
            told.append(server.post(f"{env}/step/", action).body)
            if b'"done":true' in told[-1]:
                told.append(server.post(f"{env}/reset/").body)
        return told

    first = play()
    for _ in range(2):
        assert server.post(f"{env}/snapshots/{snapshot}/restore/").json["observation"] == observed
        assert play() == first


def test_the_tabular_model_of_an_environment_is_told(server: Server) -> None:
    """FrozenLake's first state leads to one of two for an action that is not slippery, and its probabilities sum to one."""
    env = server.create("FrozenLake-v1", kwargs={"is_slippery": False})
    model = server.get(f"{env}/transitions/").json
    assert (model["states"], model["actions"], sum(model["initial_distribution"])) == (16, 4, 1.0)
    assert model["transitions"][0][1] == [{"probability": 1.0, "next_state": 4, "reward": 0.0, "terminated": False}]


def test_requests_to_one_instance_are_served_in_order_of_arrival(server: Server) -> None:
    """Steps sent at the same time over many connections are each taken once, one after another."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    seen: list[int] = []
    lock = threading.Lock()

    def step_often() -> None:
        for _ in range(25):
            observed = server.post(f"{env}/step/", {"action": "x"}).json["observation"]
            with lock:
                seen.append(observed)

    with threads(*[step_often] * 4):
        pass
    assert sorted(seen) == list(range(1, 101))


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """Requests sent ahead on one connection are answered one after another."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    body = b'{"action": "x"}'
    request = b"POST %b/step/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % (env.encode(), len(body))
    data = raw(server.address, (request + b"\r\n" + body) * 9 + request + b"Connection: close\r\n\r\n" + body)
    assert [data.index(b'"observation":%d,' % (index + 1)) for index in range(10)] == sorted(
        data.index(b'"observation":%d,' % (index + 1)) for index in range(10)
    )


def test_closing_twice_says_that_the_instance_is_unknown(server: Server) -> None:
    """The second close is a 400 like every use of an unknown instance."""
    env = server.create()
    assert server.post(f"{env}/close/").status == 200
    again = server.post(f"{env}/close/")
    assert again.status == 400
    assert "Instance_id" in again.message


def test_the_void_operations_are_typed_html_for_a_client_that_takes_only_that(server: Server) -> None:
    """Haskell's client gets `{}` as text/html, every other client as JSON."""
    for accept, media_type in (
        ("text/html;charset=utf-8", "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("text/html, application/json", "application/json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
    ):
        answer = server.post(f"{server.create()}/close/", headers={"Accept": accept})
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"{}", media_type)


def test_a_reply_over_the_limit_is_refused_with_the_limit_named(server: Server) -> None:
    """An info of 70 MB is a 413 that names --max-reply, and the instance goes on."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    answer = server.post(f"{env}/step/", {"action": f"big {70 << 20}"})
    assert answer.status == 413
    assert "--max-reply" in answer.message
    assert answer.json["limit"] == 64 << 20
    assert server.post(f"{env}/step/", {"action": "x"}).status == 200


def test_a_large_reply_within_the_limit_comes_whole(server: Server) -> None:
    """An info of 20 MB arrives."""
    env = server.create("tests/Troublemaker-v0")
    server.post(f"{env}/reset/")
    assert len(server.post(f"{env}/step/", {"action": f"big {20 << 20}"}).json["info"]["big"]) == 20 << 20


def test_health_answers(server: Server) -> None:
    """Health tells version, engine and number of instances."""
    before = server.get("/v1/health/").json
    env = server.create()
    after = server.get("/v1/health/").json
    assert (after["status"], after["engine"]) == ("ok", before["engine"])
    assert after["instances"] == before["instances"] + 1
    server.post(f"{env}/close/")


def test_the_registry_lists_what_can_be_made(server: Server) -> None:
    """Both libraries' CartPole are found by words of its id, and each row can be asked of createEnv."""
    page = server.get("/v1/registry/?q=CARTPOLE+v1&page_size=2").json
    assert (page["total"], page["page"], page["page_size"]) == (3, 1, 2)
    assert [(row["env_id"], row["library"]) for row in page["environments"]] == [
        ("CartPole-v1", "gymnasium"),
        ("CartPole-v1", "gym"),
    ]
    for row in page["environments"]:
        assert (row["installed"], row["missing_package"], row["reason"]) == (True, None, None)
        assert (row["max_episode_steps"], row["reward_threshold"]) == (500, 475.0)
        created = server.post("/v1/envs/", {key: row[key] for key in ("env_id", "library")}).json
        assert created["library"].startswith(row["library"])
    [batches] = server.get("/v1/registry/?q=tests/OwnBatch-v0").json["environments"]
    assert batches["vector_entry_point"] == "tests.support.troublemakers:OwnBatch"


def test_what_the_registry_calls_missing_is_what_createenv_asks_for(server: Server) -> None:
    """An environment that cannot be made is a row with the package and the reason that createEnv answers."""
    for query in ("q=Ant-v3&library=gym", "q=Ant-v3&library=gymnasium", "q=Pusher-v4&library=gymnasium"):
        [row] = server.get(f"/v1/registry/?{query}").json["environments"]
        refused = server.post("/v1/envs/", {"env_id": row["env_id"], "library": row["library"]})
        assert (refused.status, row["installed"]) == (400, False)
        assert (refused.json["package"], refused.message) == (row["missing_package"], row["reason"])
    assert server.get("/v1/registry/?q=GymV26Environment").json["total"] == 0
