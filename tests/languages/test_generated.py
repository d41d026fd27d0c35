"""Clients that openapi-generator makes from the contract, each of them used: TypeScript, Python, Go and Java."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from gym_http_server.conformity.contract import DOCUMENT
from gym_http_server.contract import METHODS as HTTP_METHODS

from ..support.reverse_proxy import Passing, ReverseProxy
from ..support.serving import ROOT, Server
from . import generated
from .plain import plain_session
from .recipes import ADDRESS, recipes
from .toolchain import TOOLCHAINS, require, run

pytestmark = pytest.mark.languages

PROGRAMS = Path(__file__).parent

SESSIONS = {
    "python": ("session.py", "true", "PYTHONPATH=client python session.py {url} frame.png"),
    "ts": (
        "session.ts",
        'tsc --strict --module nodenext --types node --typeRoots "$TYPES" session.ts',
        "node session.js {url} frame.png",
    ),
    "go": ("client/session/session.go", "cd client && go build -o .. ./session", "./session {url} frame.png"),
    "java": (
        "Session.java",
        'javac -cp "$JARS" -d built -sourcepath client/src/main/java -implicit:class Session.java',
        'java -cp "$JARS:built" Session {url} frame.png',
    ),
}
"""Where the program of a session lies beside the client, how it is built, and how it is run."""

WARNINGS = {
    # Of the examples of request bodies, which Swagger UI shows, and its own documents do not.
    "java": {"Ignoring complex example on request body"},
    # Of any document with a model that has a property, for it looks for the name of each property's own schema.
    "python": {"Failed to get the schema name: null"},
}
"""What a generator says of this contract, though nothing in it could be said better."""


@dataclass(frozen=True, slots=True)
class Made:
    """A generated client: its language, the directory it was made in, as `client`, and what the generator printed."""

    language: str
    directory: Path
    printed: str

    @property
    def client(self) -> Path:
        return self.directory / "client"


@pytest.fixture(scope="module", params=TOOLCHAINS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The client of each language, made by the manual's command."""
    directory = tmp_path_factory.mktemp(request.param)
    require(request.param, TOOLCHAINS[request.param], directory)
    run("gym-http-server spec > openapi.yaml", directory)
    assert (directory / "openapi.yaml").read_bytes() == (ROOT / "openapi/openapi.yaml").read_bytes()
    done = run(recipes()[request.param].make, directory)
    return Made(request.param, directory, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def built(made: Made) -> Made:
    """The same with the program of a session, built."""
    file, command, _ = SESSIONS[made.language]
    place = made.directory / file
    place.parent.mkdir(exist_ok=True)
    shutil.copy(PROGRAMS / place.name, place)
    run(command, made.directory)
    return made


def test_the_manual_has_a_short_agent_in_each_language() -> None:
    """Besides imports and brackets each has up to fifteen lines."""
    assert set(recipes()) == set(TOOLCHAINS)
    for recipe in recipes().values():
        assert 10 <= len(recipe.statements) <= 15


def test_the_generator_has_nothing_to_say(made: Made) -> None:
    """It warns of nothing but what no document could help."""
    said = {line for line in made.printed.splitlines() if not re.match(r"#|\[\w+\] INFO ", line)}
    assert {line.partition(" - ")[2] or line for line in said} == WARNINGS.get(made.language, set())


def test_every_operation_is_a_method_of_its_name(made: Made) -> None:
    """The methods are the operations of the contract, in the language's own spelling."""
    operations = {
        operation["operationId"]
        for path in DOCUMENT["paths"].values()
        for method, operation in path.items()
        if method in HTTP_METHODS
    }
    assert generated.METHODS[made.language](made.client) == operations


def test_every_model_is_a_schema_of_the_contract(made: Made) -> None:
    """No model is one that the generator had to find a name for."""
    models = generated.models(made.language, made.client)
    assert models <= {name.lower() for name in DOCUMENT["components"]["schemas"]}
    assert models >= {"createenvrequest", "stepreply", "space", "problem"}


def test_every_property_is_documented(made: Made) -> None:
    """A client says of each property of each model what the contract says of it."""
    assert generated.DOCUMENTATION[made.language](made.client) == generated.contract_documentation()


def test_a_session_is_what_it_is_over_plain_http(built: Made, language_server: Server) -> None:
    """Create, spaces, seeded reset, 200 steps, a batch, a frame, an error and close say what plain requests are told."""
    done = session(built, language_server.url)
    assert json.loads(done.stdout) == plain_session(language_server)
    with Image.open(built.directory / "frame.png") as frame:
        assert (frame.format, frame.size) == ("PNG", (600, 400))


def test_what_a_reply_gains_later_stops_no_client(built: Made, language_server: Server) -> None:
    """A session is the same with a server whose replies have a member that this contract does not name."""

    def grow(passing: Passing) -> None:
        # What the contract closes: an instance's words, which are strings only, and nothing.
        is_closed = passing.reply == b"{}" or (passing.path, passing.status) == ("/v1/envs/", 200)
        if "json" in passing.reply_headers["content-type"] and not is_closed:
            passing.reply = json.dumps({**json.loads(passing.reply), "added_later": {"since": 2036}}).encode()

    with ReverseProxy(language_server.address, after=grow) as proxy:
        done = session(built, proxy.url)
    assert json.loads(done.stdout) == plain_session(language_server)


def test_the_agent_of_the_manual_runs_as_it_stands(made: Made, language_server: Server) -> None:
    """By the manual's own command it plays a seeded episode, whose return is that of the same one over plain HTTP."""
    recipe = recipes()[made.language]
    assert recipe.code.count(ADDRESS) == 1
    place = made.directory / recipe.file
    place.parent.mkdir(exist_ok=True)
    place.write_text(recipe.code.replace(ADDRESS, language_server.url))
    told = run(recipe.run, made.directory).stdout.split()
    env = language_server.create(seed=42)
    language_server.post(f"{env}/reset/")
    total, done = 0.0, False
    while not done:
        step = language_server.post(f"{env}/step/", language_server.get(f"{env}/action_space/sample").json).json
        total, done = total + step["reward"], step["done"]
    language_server.post(f"{env}/close/")
    assert (told[0], float(told[1])) == ("return", total)


def session(built: Made, url: str) -> subprocess.CompletedProcess[str]:
    """Have a client's program do its session with a server."""
    return run(SESSIONS[built.language][2].format(url=url), built.directory)
