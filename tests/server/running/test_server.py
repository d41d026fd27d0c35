"""Starting and stopping: the command line, `start_server`, the pages, shutdown and signals."""

from __future__ import annotations

import gc
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from queue import Queue
from urllib.request import Request, urlopen

import psutil
import pytest
import yaml
from click.testing import CliRunner

import gym_http_server
from gym_http_server import start_server
from gym_http_server.cli import command
from gym_http_server.config import Settings
from gym_http_server.contract import document_path
from gym_http_server.errors import AddressError, EngineUnavailableError, ImportFailedError
from tests.support.serving import ROOT, Server, eventually, living, parse_response, raw, threads


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "gym_http_server", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **variables},
    )


def test_the_banner_says_where_everything_is(process_server: Server) -> None:
    """The server prints its address, the home page, the API page and the contract, and all four answer."""
    for line, path, media_type in zip(
        process_server.banner,
        ("", "/", "/ui/", "/openapi.yaml"),
        ("text/html", "text/html", "text/html", "application/yaml"),
        strict=True,
    ):
        assert process_server.url + path in line
        answer = process_server.get(path or "/", check=False)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(media_type)


def test_version_and_help() -> None:
    """-v and --version print the version; --help tells of every option and its variable."""
    for flag in ("-v", "--version"):
        assert run(flag).stdout.strip() == f"gym-http-server {gym_http_server.__version__}"
    text = run("--help").stdout
    for words in ("-l, --listen", "-p, --port", "--engine", "--import", "GYM_HTTP_SERVER_PORT", "5000", "127.0.0.1"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], "--nonsense"),
        (["-p", "many"], "many"),
        (["-p", "70000"], "65535"),
        (["-p", "-1"], "port"),
        (["--engine", "warp"], "warp"),
        (["-l", "no.such.host.invalid"], "no.such.host.invalid"),
        (["-l", "256.1.1.1"], "256.1.1.1"),
        (["--import", "no_such_module"], "no_such_module"),
        (["--call-timeout", "0"], "call_timeout"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_on_stderr(arguments: list[str], words: str) -> None:
    """The line names what was wrong; the exit status is not 0 and there is no traceback."""
    done = run("-p", "0", *arguments)
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("gym-http-server: ")
    assert words in done.stderr


def test_a_port_in_use_is_one_line_that_says_so() -> None:
    """A second server on the same port says that the address is in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("-p", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_spec_prints_the_contract() -> None:
    """`spec` prints the file byte for byte, or the same document as JSON, and serves nothing."""
    text = document_path().read_text()
    assert run("spec").stdout == text
    assert json.loads(run("spec", "--format", "json").stdout) == yaml.safe_load(text)
    assert "xml" in run("spec", "--format", "xml").stderr
    assert "nope" in run("nope").stderr


def test_each_option_is_also_a_variable() -> None:
    """GYM_HTTP_SERVER_… sets what the option sets, and the option wins."""
    with Server(environment={"GYM_HTTP_SERVER_ENGINE": "inline"}) as server:
        assert server.get("/v1/health/").json["engine"] == "inline"
    with Server("--engine", "process", environment={"GYM_HTTP_SERVER_ENGINE": "inline"}) as server:
        assert server.get("/v1/health/").json["engine"] == "process"
    assert "65535" in run(GYM_HTTP_SERVER_PORT="70000").stderr


def test_several_modules_can_be_named_in_the_variable() -> None:
    """GYM_HTTP_SERVER_IMPORT takes names separated by spaces."""
    with Server(environment={"GYM_HTTP_SERVER_IMPORT": "tests.support.troublemakers ale_py"}) as server:
        server.create("tests/Troublemaker-v0")
        server.create("ALE/Pong-v5")


def test_the_help_is_made_of_the_settings_table() -> None:
    """Every setting is an option with its sentence in the help."""
    import dataclasses

    text = " ".join(CliRunner().invoke(command(), ["--help"]).output.split())
    for each in dataclasses.fields(Settings):
        assert " ".join(each.metadata["text"].removesuffix(".").split()[:4]) in text


def test_the_inline_engine_says_what_it_lacks() -> None:
    """A server with the inline engine logs the caveat when it starts, and the home page shows it."""
    with Server("--engine", "inline") as server:
        eventually(lambda: any("without" in line or "one call at a time" in line for line in server.stderr))
        assert b"one call at a time" in server.get("/", check=False).body


def test_a_platform_that_cannot_fork_refuses_the_process_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the default is `inline`, and asking for `process` says why it cannot be had."""
    monkeypatch.setattr(sys, "platform", "win32")
    assert Settings().engine == "inline"
    with pytest.raises(EngineUnavailableError, match="fork"):
        Settings(engine="process")


class Running:
    """start_server in a thread of this process."""

    def __init__(self, **options: object) -> None:
        self._urls: Queue[str | BaseException] = Queue()
        self.thread = threading.Thread(target=self._run, args=(options,))
        self.thread.start()
        url = self._urls.get(timeout=60)
        if isinstance(url, BaseException):
            raise url
        self.url = url

    def _run(self, options: dict[str, object]) -> None:
        try:
            start_server(listen="127.0.0.1", port=0, on_start=self._urls.put, **options)
        except BaseException as error:  # noqa: BLE001 -- handed to the test
            self._urls.put(error)

    def post(self, path: str, body: bytes = b"") -> object:
        request = Request(self.url + path, body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)


def test_start_server_runs_in_a_thread_and_again_after_a_shutdown() -> None:
    """It serves from a thread that is not the main one, returns after the shutdown, and can be started again."""
    for _ in range(2):
        running = Running()
        assert running.post("/v1/envs/", b'{"env_id": "CartPole-v1"}')["env_id"] == "CartPole-v1"
        assert running.post("/v1/shutdown/") == {}
        running.thread.join(60)
        assert not running.thread.is_alive()
    assert not [each for each in psutil.Process().children() if "zygote" in " ".join(each.cmdline())]


@pytest.mark.parametrize("is_frozen", [False, True])
def test_start_server_spares_its_clients_the_garbage_collector_and_leaves_it_as_it_was(is_frozen: bool) -> None:
    """While it serves, what was made before is frozen, as with the command; afterwards only where the caller had it so."""
    if is_frozen:
        gc.freeze()
    try:
        running = Running()
        assert gc.get_freeze_count() > 10_000
        running.post("/v1/shutdown/")
        running.thread.join(60)
        assert (gc.get_freeze_count() > 0) == is_frozen
    finally:
        gc.unfreeze()


def test_start_server_raises_errors_that_say_what_was_wrong() -> None:
    """From Python a mistake is an exception of its own class, and nothing is left behind."""
    with pytest.raises(TypeError, match="prot"):
        start_server(prot=1)
    with pytest.raises(ValueError, match="engine"):
        start_server(engine="warp")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AddressError, match="in use"):
        start_server(port=taken.getsockname()[1])
    with pytest.raises(ImportFailedError, match="no_such_module"):
        start_server(port=0, imports=("no_such_module",))


def test_start_server_works_in_a_repl() -> None:
    """Typed at a prompt, it serves until shutdown and the prompt comes back."""
    lines = (
        "from gym_http_server import start_server\n"
        "start_server(port=0, on_start=lambda url: print(url, flush=True))\n"
        "print('back', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-i", "-q"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    process.stdin.write(lines)
    process.stdin.flush()
    url = process.stdout.readline().strip().removeprefix(">>> ")
    request = Request(f"{url}/v1/envs/", b'{"env_id": "CartPole-v1"}', {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        assert answer.status == 200
    with urlopen(Request(f"{url}/v1/shutdown/", b"")):
        pass
    assert "back" in process.communicate(timeout=30)[0]


def test_shutdown_answers_first_then_finishes_what_is_under_way() -> None:
    """The reply comes, a step under way is answered, and no process is left."""
    with Server("--import", "tests.support.troublemakers") as server:
        env = server.create("tests/Troublemaker-v0")
        server.post(f"{env}/reset/")
        answers = []
        with threads(lambda: answers.append(server.post(f"{env}/step/", {"action": "sleep 1"}))):
            eventually(lambda: server.get(f"{env}/").json["state"] == "busy")
            children = psutil.Process(server.process.pid).children(recursive=True)
            answer = server.post("/v1/shutdown/")
            assert (answer.status, answer.json) == (200, {})
        assert answers[0].json["observation"] == 1
        assert server.process.wait(30) == 0
        assert not living(children, 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_with_status_0(number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end it gracefully, with instances open and a connection kept."""
    with Server() as server:
        server.create()
        server.kill(number)
        assert server.process.returncode == 0
        assert not [line for line in server.stderr if "Traceback" in line]


def test_the_document_is_served_as_it_is_in_the_file(server: Server) -> None:
    """/openapi.yaml is the file byte for byte, and /openapi.json the same document."""
    text = document_path().read_bytes()
    assert server.get("/openapi.yaml", check=False).body == text
    assert server.get("/openapi.json", check=False).json == yaml.safe_load(text)


def test_the_api_page_loads_its_own_files(server: Server) -> None:
    """The page needs nothing from another host, and its script is served."""
    page = server.get("/ui/", check=False).body.decode()
    assert "/openapi.json" in page
    assert "https://" not in page
    assert server.get("/ui/swagger-ui-bundle.js", check=False).status == 200
    assert server.get("/ui/nope.js", check=False).status == 404


def test_the_home_page_lists_live_instances(server: Server) -> None:
    """An instance appears in the table with its use, and goes when it is closed."""
    env = server.create("Acrobot-v1")
    instance_id = env.rsplit("/", 1)[1]
    page = server.get("/", check=False).body.decode()
    assert instance_id in page
    assert "Acrobot-v1" in page
    assert gym_http_server.__version__ in page
    assert "gymnasium" in page
    server.post(f"{env}/close/")
    assert instance_id not in server.get("/", check=False).body.decode()


def test_an_unknown_page_is_a_problem_for_programs_and_a_page_for_people(server: Server) -> None:
    """Outside of the API, a 404 has the one error shape unless HTML is asked for."""
    assert server.get("/nope", check=False).headers["content-type"] == "application/problem+json"
    page = server.get("/nope", headers={"Accept": "text/html"}, check=False)
    assert (page.status, page.headers["content-type"].split(";")[0]) == (404, "text/html")


def test_an_idle_connection_is_kept_as_long_as_the_setting_says() -> None:
    """With --keep-alive 1 the server closes an idle connection after a second, not at once."""
    with Server("--keep-alive", "1") as server:
        begun = time.monotonic()
        data = raw(server.address, b"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\n\r\n", timeout=30)
        assert parse_response(data).status == 200
        assert 0.9 < time.monotonic() - begun < 20
    assert Settings().keep_alive == 75


def test_limits_are_settings() -> None:
    """--max-body and --max-reply take effect and are named in the problem."""
    with Server("--max-body", "100", "--max-reply", "1024") as server:
        answer = server.post("/v1/envs/", b" " * 101, headers={"Content-Type": "application/json"})
        assert answer.status == 413
        assert answer.json["limit"] == 100
        env = server.create("CarRacing-v3", kwargs={})
        assert server.post(f"{env}/reset/").status == 413


def test_strict_env_ids_refuses_a_retired_id() -> None:
    """With --strict-env-ids FrozenLake-v0 is a 400 that names its successor."""
    with Server("--strict-env-ids") as server:
        answer = server.post("/v1/envs/", {"env_id": "FrozenLake-v0"})
        assert answer.status == 400
        assert "FrozenLake-v1" in answer.message


def test_a_module_prefix_is_served_only_where_the_module_was_named() -> None:
    """`module:Env-v0` imports nothing that the server was not started with."""
    with Server("--import", "tests.support.troublemakers") as server:
        assert server.post("/v1/envs/", {"env_id": "tests.support.troublemakers:tests/Short-v0"}).status == 200
        answer = server.post("/v1/envs/", {"env_id": "this:CartPole-v1"})
        assert answer.status == 400
        assert "--import this" in answer.message


def test_a_server_listens_on_every_address_of_a_name() -> None:
    """With -l localhost it answers on the address of that name."""
    with Server("-l", "localhost") as server:
        port = server.address[1]
        for info in {each[4][0] for each in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}:
            assert raw((info, port), b"GET /v1/health/ HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.")
