"""The contract itself: the document is valid, complete and bound to handlers; every error has its status."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from gym_http_server import errors
from gym_http_server.api import handlers
from gym_http_server.api.handlers import Execution, handler_table
from gym_http_server.api.problems import STATUS, problem_of, slug_of
from gym_http_server.app import Application
from gym_http_server.config import Settings
from gym_http_server.conformity.contract import DOCUMENT, check_reply, inlined
from gym_http_server.conformity.exchange import Nonconformity
from gym_http_server.contract import METHODS, load_contract, resolve
from gym_http_server.runtime import operations
from gym_http_server.runtime.messages import MSGPACK
from gym_http_server.runtime.served.batch import Batch
from gym_http_server.runtime.served.environment import Environment

COMPONENTS = [(kind, name, value) for kind, named in DOCUMENT["components"].items() for name, value in named.items()]
OPERATIONS = [
    (template, method, operation)
    for template, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
]


WITHOUT_EXAMPLE = {"HoldToken", "IdempotencyKey"}
"""Of what names one request there is no example: pages, generators and test tools send examples as they are."""


def table() -> dict[str, Any]:
    app = Application(Settings(engine="inline"))
    execution = Execution(app.settings, app.instances)
    parts = (app.results, app.registry, app.interpreters, execution)
    return handler_table(
        app.settings, app.instances, lambda: None, *parts, replays=app.replays, openenv=lambda: app.openenv
    )


def test_the_document_is_valid_openapi() -> None:
    """openapi-spec-validator accepts the document, examples of schemas included."""
    OpenAPIV30SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"] == "3.0.3"


def test_the_handler_table_has_exactly_the_operations_of_the_document() -> None:
    """No operation is without a handler, and no handler without an operation."""
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert sorted(table()) == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_the_table_of_operations_says_what_the_document_says() -> None:
    """Which operations there are, which belong to a training loop, and which take an Idempotency-Key and an Instance-Hold."""
    key, hold = ({"$ref": f"#/components/parameters/{name}"} for name in ("IdempotencyKey", "InstanceHold"))
    of_document = {
        (
            operation["operationId"],
            bool(operation.get("x-hot-path")),
            *(each in operation.get("parameters", []) for each in (key, hold)),
        )
        for _, _, operation in OPERATIONS
    }
    of_table = {
        (each.operation_id, each.is_hot, each.is_keyed, each.operation_id in operations.TAKES_HOLD)
        for each in operations.OPERATIONS
    }
    assert of_table == of_document


def test_every_call_of_the_table_is_a_method_of_the_instances_it_is_for() -> None:
    """Those for one kind only have advice for the other."""
    assert len(operations.CALLS) > 10
    for call, operation in operations.CALLS.items():
        kinds = (
            {Environment, Batch}
            if operation.kind is None
            else {Environment}
            if operation.kind == "environment"
            else {Batch}
        )
        assert {kind for kind in (Environment, Batch) if callable(getattr(kind, call, None))} == kinds
        assert bool(operation.instead) == (operation.kind is not None)


def test_each_tag_is_a_handler_module() -> None:
    """The folder of handlers shows the tags, and each handler lies in the module of its operation's tag."""
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    of_operations = table()
    for _, _, operation in OPERATIONS:
        [tag] = operation["tags"]
        assert tag in tags
        assert of_operations[operation["operationId"]].__module__ == f"{handlers.__name__}.{tag}"


@pytest.mark.parametrize(
    ("template", "method", "operation"), OPERATIONS, ids=[each[2]["operationId"] for each in OPERATIONS]
)
def test_every_operation_is_described_and_names_its_parts(
    template: str, method: str, operation: dict[str, Any]
) -> None:
    """Summary, description, camelCase name; bodies, parameters and responses are named components."""
    assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", operation["operationId"])
    assert operation["summary"], method
    assert operation["description"]
    parts = [*operation["responses"].values(), *DOCUMENT["paths"][template].get("parameters", [])]
    parts += [operation["requestBody"]] if "requestBody" in operation else []
    assert all(set(part) == {"$ref"} for part in parts)


@pytest.mark.parametrize(("kind", "name", "value"), COMPONENTS, ids=[f"{kind}-{name}" for kind, name, _ in COMPONENTS])
def test_every_component_has_a_description_and_a_real_example(kind: str, name: str, value: dict[str, Any]) -> None:
    """Examples are valid under their own schema; media types name a schema."""
    assert value["description"]
    if kind == "schemas":
        assert value["title"] == name
        if value.get("format") != "binary" and name not in WITHOUT_EXAMPLE:
            OAS30Validator(inlined(value)).validate(value["example"])
        for inner in value.get("properties", {}).values():
            assert resolve(DOCUMENT, inner)["description"]
    for media_type, media in value.get("content", {}).items():
        assert set(media["schema"]) == {"$ref"}
        # MessagePack has the members of the JSON beside it; a picture or an archive has none to show.
        if media_type not in (MSGPACK, "application/zip") and not media_type.startswith("image/"):
            OAS30Validator(inlined(media["schema"])).validate(media["example"])


def test_no_idempotency_key_is_proposed() -> None:
    """Nothing in the document that a tool may send as it is, example or default, is an Idempotency-Key."""
    proposing = {"example", "examples", "default"}

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("name") == "Idempotency-Key" or node.get("title") == "IdempotencyKey":
                seen.append(node)
                assert not proposing & node.keys()
            # Links may fill a request's headers.
            assert "header.Idempotency-Key" not in node
            node = list(node.values())
        for each in node if isinstance(node, list) else ():
            look(each)

    seen: list[Any] = []
    look(DOCUMENT)
    assert len(seen) == 2


def test_no_component_is_unused() -> None:
    """Every component is referred to from somewhere."""
    text = json.dumps(DOCUMENT)
    unused = {f"{kind}/{name}" for kind, name, _ in COMPONENTS if f'"#/components/{kind}/{name}"' not in text}
    # These are referred to by name.
    assert unused == {f"securitySchemes/{name}" for each in DOCUMENT["security"] for name in each}


def test_what_generators_get_wrong_is_not_in_it() -> None:
    """Enumerations are no schemas of their own, what lists and maps hold is one, a model has words where it is a property."""
    components = DOCUMENT["components"]
    for name, schema in components["schemas"].items():
        assert "enum" not in schema, name
        held = [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
        assert all("$ref" in each for each in held), name
        for inner in schema.get("properties", {}).values():
            assert "properties" not in components["schemas"].get(inner.get("$ref", "").rpartition("/")[2], {}), name
    assert all(isinstance(link.get("requestBody", ""), str) for link in components["links"].values())


def test_an_integer_beyond_32_bits_says_so() -> None:
    """Generated Go has an int32 for an integer without a format, and does not compile with a larger bound."""
    wide = set()

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if (
                node.get("type") == "integer"
                and max(abs(node.get(key, 0)) for key in ("minimum", "maximum")) >= 1 << 31
            ):
                wide.add(node.get("format"))
            node = list(node.values())
        for each in node if isinstance(node, list) else ():
            look(each)

    look(DOCUMENT)
    assert wide == {"int64"}


def test_replies_may_gain_members() -> None:
    """Each object of a reply says so, for generated Go refuses what it has no word of; three are what they are for good."""
    closed, silent = set(), set()

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if "properties" in node or ("allOf" in node and "title" in node):
                {True: set(), False: closed, None: silent}[node.get("additionalProperties")].add(node["title"])
            node = list(node.values())
        for each in node if isinstance(node, list) else ():
            look(each)

    for _, _, response in (each for each in COMPONENTS if each[0] == "responses"):
        for media in response.get("content", {}).values():
            look(inlined(media["schema"]))
    assert (closed, silent) == ({"EnvCreated", "Membership", "PackedArray"}, set())


def test_the_schemas_keep_what_old_clients_need() -> None:
    """The body of reset has no type, so that it may be null too; close and shutdown declare no body."""
    reset = DOCUMENT["components"]["schemas"]["ResetRequest"]
    assert "type" not in reset
    assert "nullable" not in reset
    for path in ("/v1/envs/{instance_id}/close/", "/v1/shutdown/"):
        assert "requestBody" not in DOCUMENT["paths"][path]["post"]


STATUSES = {
    400: "Usage UnknownInstance UnknownEnvironment InterpreterChoice EnvironmentCreation MissingDependency InvalidAction InvalidValue NoRecording Export",
    403: "ForbiddenDirectory",
    404: "UnknownEvaluation UnknownEpisode UnknownSnapshot",
    406: "RenderFormat",
    409: "Conflict ResetNeeded InstanceKind RenderMode RecordingExists NotCopyable InstanceHeld HoldEnded NoTransitionModel NoTrajectories",
    410: "InstanceLost",
    413: "ReplyTooLarge TooManyLanes",
    422: "KeyReused",
    429: "TooManyInstances TooManySnapshots TooManyVerifications",
    500: "Start Address EngineUnavailable InterpreterOption ImportFailed Access ResultsRoot TargetUnavailable GymHttpServer",
    502: "ShardUnreachable UploadTarget InquiryFailed RuntimeDefect EnvironmentRaised EnvironmentResult EnvironmentDied EnvironmentFailure",
    503: "NoShard OutOfResources",
    504: "FileSystemTimeout CallTimeout RolloutTimeout",
    507: "RecordingFailed",
}
"""What each error is answered with: its class without `Error`."""


@pytest.mark.parametrize("wrong", [True, "0", None, [0]], ids=repr)
def test_a_wrong_item_among_many_right_ones_is_found(wrong: Any) -> None:
    """Equal items of a reply are validated once, those of another type by themselves: one that is wrong is named."""
    info = {"name": "Box", "low": [0, 1, 0.0, 1.5] * 1000 + [wrong, 1, wrong], "high": [1] * 4003}
    headers = {"content-type": "application/json"}
    with pytest.raises(Nonconformity, match=r"\$\.info\.low\[400[02]\]"):
        check_reply("GET", "/v1/envs/5f2b9c1e/observation_space/", 200, headers, json.dumps({"info": info}).encode())


def test_every_error_of_the_tree_has_its_status_and_a_name() -> None:
    """No class of errors/ is without a status, and each has a problem type of its own."""
    classes = errors.every_error()
    expected = {name: status for status, names in STATUSES.items() for name in names.split()}
    assert {cls.__name__.removesuffix("Error"): status for cls, status in STATUS.items()} == expected
    assert set(STATUS) == set(classes)
    assert len({slug_of(cls) for cls in classes}) == len(classes)
    for cls in classes:
        problem = problem_of(cls("words", fact=1))
        body = json.loads(problem.body)
        assert problem.status == STATUS[cls]
        assert body["detail"] == body["message"] == "words"
        assert body["fact"] == 1


def test_every_error_is_drawn_in_the_docstring_of_its_module() -> None:
    """The tree at the top of errors/ is the tree of the classes."""
    drawn = re.findall(r"(\w+(?:Error|Failure))\b", errors.__doc__ or "")
    assert {cls.__name__ for cls in errors.every_error()} <= set(drawn)


def test_an_error_crosses_from_a_process_as_what_it_is() -> None:
    """Each error comes back from its plain form as the same class with the same words and facts."""
    for cls in errors.every_error():
        error = errors.GymHttpServerError.from_wire(json.loads(json.dumps(cls("words", detail_of=[1]).to_wire())))
        assert (type(error), error.detail, error.facts) == (cls, "words", {"detail_of": [1]})
    assert type(errors.GymHttpServerError.from_wire({"error": "os.system"})) is errors.EnvironmentRaisedError


def test_a_defect_of_ours_is_a_problem_with_a_reference_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody foresaw is logged under a reference that the client is told."""
    problem = problem_of(ZeroDivisionError("secret"))
    body = json.loads(problem.body)
    assert problem.status == 500
    assert "secret" not in body["detail"]
    assert body["reference"] in caplog.text


@pytest.mark.parametrize(
    ("path", "template", "canonical"),
    [
        ("/v1/envs", "/v1/envs/", "/v1/envs/"),
        ("/v1/envs/a", "/v1/envs/{instance_id}/", "/v1/envs/a/"),
        (
            "/v1/envs/a/action_space/contains/1/",
            "/v1/envs/{instance_id}/action_space/contains/{x}",
            "/v1/envs/a/action_space/contains/1",
        ),
        (
            "/v1/envs/a/action_space/contains/a/b",
            "/v1/envs/{instance_id}/action_space/contains/{x}",
            "/v1/envs/a/action_space/contains/a/b",
        ),
        (
            "/v1/envs/a/action_space/contains",
            "/v1/envs/{instance_id}/action_space/contains",
            "/v1/envs/a/action_space/contains",
        ),
        (
            "/v1/envs/a/action_space/contains/",
            "/v1/envs/{instance_id}/action_space/contains",
            "/v1/envs/a/action_space/contains",
        ),
    ],
)
def test_a_path_is_matched_with_and_without_its_final_slash(path: str, template: str, canonical: str) -> None:
    """Both forms lead to the one form of the contract."""
    found = load_contract().match(path)
    assert found is not None
    assert (found[0].template, found[1]) == (template, canonical)
