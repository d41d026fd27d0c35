"""The manual's manifest for KubeRay, held against the schema that KubeRay's operator publishes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from ..support.serving import SECONDS
from .manual import blocks

pytestmark = pytest.mark.full

MODULE = "github.com/ray-project/kuberay/ray-operator@v1.5.0"
"""A Go module that has the operator's CustomResourceDefinitions among its files (Apache License 2.0)."""


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    """The schema of a `RayCluster` of `ray.io/v1`, in which an unknown member is an error."""
    go = shutil.which("go")
    if go is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("go is not installed")
    home = tmp_path_factory.mktemp("go")
    (home / "go.mod").write_text("module reader\n")
    command = [go, "mod", "download", "-json", MODULE]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=5 * SECONDS, check=False)
    if done.returncode:
        (pytest.fail if os.environ.get("PACKAGE_INDEX") else pytest.skip)(done.stdout + done.stderr)
    file = Path(json.loads(done.stdout)["Dir"], "config/crd/bases/ray.io_rayclusters.yaml")
    definition = yaml.load(file.read_text(), yaml.CSafeLoader)
    [version] = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    return closed(version["schema"]["openAPIV3Schema"])


def closed(schema):
    """Return a schema in which objects have no members but those it names, as `kubectl apply` has it."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def errors(schema, manifest):
    return [
        f"{error.json_path}: {error.message[:200]}"
        for error in jsonschema.Draft7Validator(schema).iter_errors(manifest)
    ]


def test_the_manifest_is_one_of_a_ray_cluster(schema):
    """A misspelt member would be seen."""
    cluster, service = yaml.safe_load_all(blocks("yaml")[0])
    # The server's own metadata, which the schema leaves open.
    metadata = cluster.pop("metadata")
    assert metadata["name"]
    assert errors(schema, cluster) == []
    durable = yaml.safe_load(blocks("yaml")[1])
    assert errors(schema, {**cluster, "spec": {**cluster["spec"], **durable["spec"]}}) == []
    cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["prots"] = []
    assert len(errors(schema, cluster)) == 1
    assert service["kind"] == "Service"


def test_the_service_reaches_the_routers():
    """By their label and the name of their port, where the server listens; the key is in no file."""
    cluster, service = yaml.safe_load_all(blocks("yaml")[0])
    [template] = [
        group["template"]
        for group in cluster["spec"]["workerGroupSpecs"]
        if service["spec"]["selector"].items() <= group["template"].get("metadata", {}).get("labels", {}).items()
    ]
    [container] = template["spec"]["containers"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= {port["name"] for port in container["ports"]}
    assert any("gym-http-server --engine ray" in argument for argument in container["args"])
    assert [list(variable) for variable in container["env"]] == [["name", "valueFrom"]]
