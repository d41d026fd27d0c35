"""Environments that die, hang or leave processes behind, in the `process` engine."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from tests.conftest import IMPORTS
from tests.support.serving import ROOT, Server, eventually, living, threads

pytestmark = pytest.mark.full

TROUBLE = "tests/Troublemaker-v0"


def ready(server: Server, env_id: str = TROUBLE, **options: object) -> str:
    env = server.create(env_id, **options)
    server.post(f"{env}/reset/")
    return env


def act(server: Server, env: str, action: str):
    return server.post(f"{env}/step/", {"action": action})


@pytest.mark.parametrize(
    ("action", "how", "fact"),
    [
        ("exit 7", "exit code 7", {"exit_code": 7}),
        ("exit 0", "exit code 0", {"exit_code": 0}),
        ("abort", "SIGABRT", {"signal": "SIGABRT"}),
        ("segfault", "SIGSEGV", {"signal": "SIGSEGV"}),
    ],
)
def test_an_environment_that_dies_takes_only_itself_down(
    process_server: Server, action: str, how: str, fact: dict[str, object]
) -> None:
    """The call under way is a 502 with what is known, later ones 410 until it is closed, and all others go on."""
    server = process_server
    bystander, env = ready(server), ready(server)
    answer = act(server, env, action)
    assert answer.status == 502
    assert how in answer.message
    assert fact.items() <= answer.json.items()
    assert answer.json["stderr"]
    later = [act(server, env, "x"), server.post(f"{env}/reset/"), server.get(f"{env}/action_space/sample")]
    assert [each.status for each in later] == [410] * 3
    assert how in later[0].message
    assert server.get(f"{env}/").json["state"] == "lost"
    assert server.get(f"{env}/action_space/").status == 200
    assert env.rsplit("/", 1)[1] in server.get("/v1/envs/").json["envs"]
    assert server.post(f"{env}/close/").json == {}
    assert server.get(f"{env}/").status == 400
    assert act(server, bystander, "x").json["observation"] == 1


def test_the_last_lines_of_stderr_are_told(process_server: Server) -> None:
    """What the environment wrote last is part of the problem."""
    answer = act(process_server, ready(process_server), "exit 3")
    assert "last words of the environment" in answer.json["stderr"]
    assert "last words of the environment" in answer.message


def test_an_environment_that_dies_between_calls_is_listed_as_lost(process_server: Server) -> None:
    """Its death is seen without a call, and the next call is a 410."""
    env = ready(process_server)
    os.kill(act(process_server, env, "pid").json["info"]["pid"], signal.SIGKILL)
    eventually(lambda: process_server.get(f"{env}/").json["state"] == "lost")
    answer = act(process_server, env, "x")
    assert answer.status == 410
    assert "SIGKILL" in answer.message


def test_an_environment_that_closes_its_descriptors_is_lost_without_a_hang(process_server: Server) -> None:
    """One that cuts its own connection is killed, and the call is a 502."""
    answer = act(process_server, ready(process_server), "close_descriptors")
    assert answer.status == 502


@pytest.mark.parametrize("action", ["hang", "hang_uninterruptibly"])
def test_an_environment_that_hangs_is_killed_and_the_call_is_a_504(process_server: Server, action: str) -> None:
    """`call_timeout` of the creation bounds each call; the process is gone afterwards."""
    env = ready(process_server, call_timeout=0.5)
    pid = act(process_server, env, "pid").json["info"]["pid"]
    answer = act(process_server, env, action)
    assert answer.status == 504
    assert "0.5 s" in answer.message
    assert "--call-timeout" in answer.message
    assert act(process_server, env, "x").status == 410
    eventually(lambda: not psutil.pid_exists(pid))


def test_a_constructor_that_hangs_or_dies_is_told_and_leaves_nothing(process_server: Server) -> None:
    """createEnv is a 504 or a 502, and no instance and no process is left."""
    before, envs = process_server.pids(), process_server.get("/v1/envs/").json["envs"]
    body = {"env_id": TROUBLE, "kwargs": {"construct": "hang"}, "call_timeout": 0.5}
    assert process_server.post("/v1/envs/", body).status == 504
    answer = process_server.post("/v1/envs/", {"env_id": TROUBLE, "kwargs": {"construct": "exit 4"}})
    assert answer.status == 502
    assert answer.json["exit_code"] == 4
    assert process_server.get("/v1/envs/").json["envs"] == envs
    eventually(lambda: process_server.pids() == before)


def test_a_refused_creation_leaves_no_process(process_server: Server) -> None:
    """A constructor that raises ends its process."""
    before = process_server.pids()
    body = {"env_id": TROUBLE, "kwargs": {"construct": "raise no"}}
    assert {process_server.post("/v1/envs/", body).status for _ in range(40)} == {400}
    eventually(lambda: process_server.pids() == before)


def test_different_instances_run_in_parallel(process_server: Server) -> None:
    """A slow step of one instance delays neither a step of another nor a creation nor the list."""
    slow, fast = ready(process_server), ready(process_server)
    finished: list[float] = []

    def step_slowly() -> None:
        act(process_server, slow, "sleep 3")
        finished.append(time.monotonic())

    with threads(step_slowly):
        eventually(lambda: process_server.get(f"{slow}/").json["state"] == "busy")
        assert act(process_server, fast, "x").status == 200
        ready(process_server)
        process_server.get("/v1/envs/")
        done = time.monotonic()
    assert done < finished[0]


def test_a_close_waits_for_the_call_under_way(process_server: Server) -> None:
    """The step that came before the close is answered."""
    env = ready(process_server)
    statuses: list[int] = []
    with threads(lambda: statuses.append(act(process_server, env, "sleep 1").status)):
        eventually(lambda: process_server.get(f"{env}/").json["state"] == "busy")
        assert process_server.post(f"{env}/close/").status == 200
    assert statuses == [200]


@pytest.mark.parametrize(
    ("spawn", "how"),
    [
        *itertools.product(["spawn", "spawn_session", "spawn_quiet", "spawn_daemon"], ["close", "exit 1", "hang"]),
        *(("fork_quiet", how) for how in ("close", "hang")),
    ],
)
def test_the_children_of_an_environment_end_with_it(process_server: Server, spawn: str, how: str) -> None:
    """Whether it is closed, dies or is killed, the processes that it started are gone, and another's are not."""
    other = ready(process_server)
    theirs = psutil.Process(act(process_server, other, "spawn_daemon").json["info"]["child"])
    env = ready(process_server, call_timeout=2)
    child = psutil.Process(act(process_server, env, spawn).json["info"]["child"])
    if how == "close":
        process_server.post(f"{env}/close/")
    else:
        act(process_server, env, how)
    eventually(lambda: not child.is_running())
    assert theirs.is_running()
    process_server.post(f"{other}/close/")
    eventually(lambda: not theirs.is_running())


def test_the_output_of_an_environment_does_not_stop_it(process_server: Server) -> None:
    """An environment that prints a lot and reads stdin steps on."""
    env = ready(process_server)
    assert act(process_server, env, "print 20000").status == 200
    assert act(process_server, env, "read").json["info"] == {"read": ""}


def test_an_environment_sees_none_of_the_servers_variables() -> None:
    """Nothing of the server's configuration is in the environment's variables."""
    with Server("--engine", "process", *IMPORTS, environment={"GYM_HTTP_SERVER_KEEP_ALIVE": "50"}) as server:
        assert act(server, ready(server), "pid").json["info"]["variables"] == []


def test_every_process_draws_other_random_numbers(process_server: Server) -> None:
    """NumPy's global state is not the same in all environments, though all are forked from one process."""
    drawn = [act(process_server, ready(process_server), "random").json["info"]["numpy"] for _ in range(3)]
    assert len(set(drawn)) == 3


def test_the_end_of_the_fork_server_loses_its_instances_and_another_takes_over() -> None:
    """After the fork server is killed, its instances are lost and new ones can be made."""
    with Server("--engine", "process", *IMPORTS) as server:
        env = ready(server)
        [zygote] = psutil.Process(server.process.pid).children()
        zygote.kill()
        eventually(lambda: server.get(f"{env}/").json["state"] == "lost")
        assert act(server, env, "x").status == 410
        assert act(server, ready(server), "x").status == 200
        assert server.post(f"{env}/close/").status == 200


def test_no_environment_outlives_the_fork_server() -> None:
    """Not even one in a call that takes no signal, nor what it started: its call is answered, and they are gone."""
    with Server("--engine", "process", *IMPORTS) as server:
        env = ready(server)
        pids = [act(server, env, "pid").json["info"]["pid"], act(server, env, "spawn").json["info"]["child"]]
        processes = [psutil.Process(pid) for pid in pids]
        answers: list[int] = []
        with threads(lambda: answers.append(act(server, env, "hang_uninterruptibly").status)):
            eventually(lambda: server.get(f"{env}/").json["state"] == "busy")
            [fork_server] = psutil.Process(server.process.pid).children()
            fork_server.kill()
            assert not living(processes)
        assert answers == [502]


def test_an_environment_ends_with_the_fork_server_though_the_server_cannot_act() -> None:
    """While the server is stopped, the kernel ends the process that the fork server leaves behind."""
    with Server("--engine", "process", *IMPORTS) as server:
        process = psutil.Process(act(server, ready(server), "pid").json["info"]["pid"])
        [fork_server] = psutil.Process(server.process.pid).children()
        server.process.send_signal(signal.SIGSTOP)
        try:
            fork_server.kill()
            assert not living([process])
        finally:
            server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("how", ["hang_uninterruptibly", "raise oh", "exit 3", "sys_exit"])
def test_an_environment_that_closes_badly_is_closed(process_server: Server, how: str) -> None:
    """Whether its `close` hangs, raises or ends the process, the close is answered and the process is gone."""
    env = ready(process_server)
    act(process_server, env, f"close_by {how}")
    process = psutil.Process(act(process_server, env, "pid").json["info"]["pid"])
    assert process_server.post(f"{env}/close/").json == {}
    assert not living([process])
    assert process_server.get(f"{env}/").status == 400


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT])
def test_after_the_end_of_the_server_no_environment_lives_on(number: signal.Signals) -> None:
    """Whatever ends the server, 2 s later no process of an environment lives, hung ones and children included."""
    with Server("--engine", "process", "--shutdown-timeout", "1", *IMPORTS) as server:
        idle, hung, parent = ready(server), ready(server), ready(server)
        for spawn in ("spawn", "spawn_session"):
            act(server, parent, spawn)
        act(server, idle, "x")
        request = ["POST", f"{hung}/step/", {"action": "hang_uninterruptibly"}]

        def step() -> None:
            # The reply may be a problem, or cut off at any point.
            with contextlib.suppress(OSError, http.client.HTTPException):
                server.request(*request, check=False)

        with threads(step):
            eventually(lambda: server.get(f"{hung}/").json["state"] == "busy")
            processes = psutil.Process(server.process.pid).children(recursive=True)
            assert len(processes) >= 6
            server.kill(number)
            assert not living(processes, 2)


def test_a_second_signal_ends_the_server_at_once() -> None:
    """A step that hangs holds up the first Ctrl-C, and not the second."""
    with Server("--engine", "process", *IMPORTS) as server:
        hung = ready(server)

        def step() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                server.request("POST", f"{hung}/step/", {"action": "hang"}, check=False)

        with threads(step):
            eventually(lambda: server.get(f"{hung}/").json["state"] == "busy")
            processes = psutil.Process(server.process.pid).children(recursive=True)
            server.process.send_signal(signal.SIGINT)
            eventually(lambda: is_refused(server))
            assert server.process.poll() is None
            begun = time.monotonic()
            server.kill(signal.SIGINT)
            assert time.monotonic() - begun < 10
            assert not living(processes, 2)


def is_refused(server: Server) -> bool:
    try:
        socket.create_connection(server.address, 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # the port was being closed
    return False


def test_two_servers_do_not_touch_each_other() -> None:
    """The end of one server leaves the environments of another alone."""
    with Server("--engine", "process", *IMPORTS) as kept:
        env = ready(kept)
        with Server("--engine", "process", *IMPORTS) as other:
            ready(other)
        assert act(kept, env, "x").status == 200


def test_a_script_without_a_main_guard_can_start_a_server(tmp_path) -> None:
    """start_server in a bare script does not run the script again in the environments' processes."""
    script = tmp_path / "serve.py"
    script.write_text(
        "print('the script runs', flush=True)\n"
        "from gym_http_server import start_server\n"
        "start_server(listen='127.0.0.1', port=0, on_start=lambda url: print(url, flush=True))\n"
        "print('stopped', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "the script runs\n"
    url = process.stdout.readline().strip()
    from urllib.request import Request, urlopen

    body = b'{"env_id": "CartPole-v1"}'
    with urlopen(Request(f"{url}/v1/envs/", body, {"Content-Type": "application/json"})) as answer:
        assert answer.status == 200
    with urlopen(Request(f"{url}/v1/shutdown/", b"")) as answer:
        assert answer.status == 200
    assert process.communicate(timeout=30)[0] == "stopped\n"
    assert process.returncode == 0


def test_without_a_descriptor_left_a_creation_is_refused_and_what_lives_goes_on() -> None:
    """The 503 says what to do, and after a close there is room again."""
    with Server("--engine", "process") as server:
        made = [server.create()]
        seen = psutil.Process(server.process.pid)
        seen.rlimit(psutil.RLIMIT_NOFILE, (seen.num_fds() + 3,) * 2)
        while (answer := server.post("/v1/envs/", {"env_id": "CartPole-v1"})).status == 200:
            made.append(f"/v1/envs/{answer.json['instance_id']}")
            assert len(made) < 10
        assert answer.status == 503
        assert "Too many open files" in answer.message
        assert "ulimit -n" in answer.message
        assert server.post(f"{made[0]}/reset/").status == 200
        assert server.request("DELETE", made[-1]).status == 200
        assert server.post("/v1/envs/", {"env_id": "CartPole-v1"}).status == 200


def test_the_server_takes_as_many_descriptors_as_it_may_have() -> None:
    """A thousand environments do not fail by the shell's soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        with Server("--engine", "process") as server:
            assert psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
