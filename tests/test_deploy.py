"""The files of deploy/: they have the form of the program that reads them, and their `nas …` is one that nas takes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import ray.autoscaler
import yaml
from pages import text_of

from nas.cli.main import commands as program

DEPLOY = Path("deploy")
FILES = sorted(DEPLOY.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".sh"]
#: The fields of KubeRay's RayJob that we use, by where they are: those of its v1 types.
RAY_JOB = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "spec": {
        "submissionMode", "entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit",
        "activeDeadlineSeconds", "rayClusterSpec",
    },
    "spec.rayClusterSpec": {
        "rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec",
        "workerGroupSpecs",
    },
    "spec.rayClusterSpec.authOptions": {"mode"},
    "spec.rayClusterSpec.autoscalerOptions": {"idleTimeoutSeconds", "upscalingMode"},
    "spec.rayClusterSpec.headGroupSpec": {"rayStartParams", "template"},
}  # fmt: skip
WORKER_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def nas_commands(path: Path) -> list[list[str]]:
    """Every `nas …` that a file runs, without its comments, variables as some text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":  # folded and literal blocks as they are read
        text = "\n".join(_texts([*yaml.safe_load_all(text)]))
    lines = [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if not line.lstrip().startswith("#")]
    runs = re.compile(r"(?:^|-- |&& )\s*(nas (?:search|cluster) .*?)&?$")
    found = [match[1] for line in lines if (match := runs.search(line))]
    return [[re.sub(r"\$\{?\w+\}?", "value", word) for word in shlex.split(command)] for command in found]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_each_says_what_it_is_and_stands_on_the_page(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = [line for line in lines[:30] if line.startswith("# ")]
    assert lines[0].startswith(("# A ", "#!/usr/bin/env bash"))
    for said in ("Needs:", "Costs:", "lost", "go"):
        assert any(said in line for line in header), said
    assert f"](../deploy/{path.name})" in text_of(Path("docs/cluster.md"))
    assert os.access(path, os.X_OK) == (path in SCRIPTS)


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_scripts_are_bash(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "ray-up.yaml"], ids=str)
def test_what_is_run_is_what_nas_takes(path: Path) -> None:
    searches = nas_commands(path)
    assert searches
    for words in searches:
        command = program.commands[words[1]]
        with command.make_context(words[1], words[2:]) as context:  # raises click.UsageError
            if words[1] == "search":
                assert {"ray__address", "out"} <= {key for key, value in context.params.items() if value is not None}
                assert context.params["config"] is not None


def test_an_option_that_nas_does_not_take_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text('x=$(true)\nsrun a -- nas search "$x" \\\n  --addres auto &\n')
    ((_, name, *rest),) = nas_commands(tmp_path / "a.sh")
    with pytest.raises(click.UsageError, match="--addres"):
        program.commands[name].make_context(name, rest)


def test_the_script_for_ray_up_is_there_and_its_form_is_rays() -> None:
    (config,) = documents("ray-up.yaml")
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    kinds = config["available_node_types"]
    assert config["head_node_type"] in kinds
    assert "InstanceMarketOptions" not in kinds[config["head_node_type"]]["node_config"]  # on demand
    assert kinds["worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "ray submit deploy/ray-up.yaml deploy/ray-job-submit.sh" in (DEPLOY / "ray-up.yaml").read_text()


def test_the_script_for_ray_up_is_filled_in_by_rays_own_launcher() -> None:
    """As `ray up` does before it asks the cloud for anything."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents("ray-up.yaml")
    validate_config(prepare_config(config))


def test_the_ray_job_has_kuberays_fields_and_no_fixed_id() -> None:
    claim, job = documents("kuberay-rayjob.yaml")
    assert (claim["kind"], job["apiVersion"], job["kind"]) == ("PersistentVolumeClaim", "ray.io/v1", "RayJob")
    for place, fields in RAY_JOB.items():
        inner = job
        for key in filter(None, place.split(".")):
            inner = inner[key]
        assert set(inner) == fields, place
    spec = job["spec"]["rayClusterSpec"]
    assert spec["authOptions"]["mode"] == "token"
    for group in spec["workerGroupSpecs"]:
        assert set(group) == WORKER_GROUP
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        there = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= there
    # The run is on the claim, which outlives the head's pod.
    head = spec["headGroupSpec"]["template"]["spec"]
    (mount,) = [one for one in head["containers"][0]["volumeMounts"] if one["name"] == "run"]
    (volume,) = [one for one in head["volumes"] if one["name"] == "run"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert f"--out {mount['mountPath']}/" in job["spec"]["entrypoint"]


def test_the_task_of_skypilot_is_a_script_too() -> None:
    (task,) = documents("skypilot.yaml")
    assert set(task) == {"name", "num_nodes", "workdir", "resources", "envs", "secrets", "setup", "run"}
    assert set(task["resources"]) == {"accelerators", "cpus", "use_spot", "disk_size", "job_recovery"}
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=task[part], text=True, check=True)
    assert "ray stop" not in [line.strip() for line in task["run"].splitlines()]
