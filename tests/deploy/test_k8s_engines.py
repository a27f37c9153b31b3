"""Engines are started as `sightline engine run` starts them, with the GPUs and the model that their folder names."""

import json
import re
from pathlib import Path

import pytest
from tests.deploy.files import ENGINE_IMAGE, instructions
from tests.deploy.manifests import ENGINES, Object, container, engines, of_kind, rendered, the
from tests.deploy.names import ENGINE_PORT, unknown_commands

from sightline.capacity.models import CHECKPOINTS
from sightline.engines.spec import Adapter, choose, command, variables

ON_GPUS = [name for name in ENGINES if name != "cpu-demo"]
# What is said here and not by `sightline engine run`: how many GPUs, and that a stop finishes what is under way.
OWN = {
    "--tensor-parallel-size",
    "--pipeline-parallel-size",
    "--distributed-executor-backend",
    "--enable-expert-parallel",
    "--shutdown-timeout",
}


def engine(name: str) -> Object:
    (pod,) = (pod for _, pod in engines(rendered(name)))
    return container(pod)


def flags(words: list[str]) -> dict[str, str]:
    """By name, from `--name=value` and from `--name value`; `""` for those without a value."""
    found: dict[str, str] = {}
    for word in words:
        if word.startswith("--"):
            flag, _, found[flag] = word.partition("=")
        else:
            found[flag] = word
    return found


@pytest.mark.parametrize("name", ON_GPUS)
def test_vllm_gets_the_flags_that_engine_run_gives_it(name: str) -> None:
    model, *given = engine(name)["args"]
    found = flags(given)
    adapters = (Adapter(*found["--lora-modules"].split("=", 1)),) if "--lora-modules" in found else ()
    spec = choose(Path("/x"), "gpu", model, adapters=adapters)

    assert {flag: value for flag, value in found.items() if flag not in OWN} == flags(command(spec, ENGINE_PORT, "0.0.0.0")[3:])


@pytest.mark.parametrize("name", ON_GPUS)
def test_its_variables_are_those_that_engine_run_sets(name: str) -> None:
    ours = variables(choose(Path("/x"), "gpu"), "key", {})
    given = {entry["name"]: entry.get("value") for entry in engine(name)["env"]}

    for variable in ours.keys() - {"PATH", "PYTHONUNBUFFERED"}:
        assert variable in given, variable
        assert given[variable] in {ours[variable], None}, variable  # none: from a Secret
    assert given["VLLM_API_KEY"] is None
    assert not {"VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING"} & given.keys()


@pytest.mark.parametrize("name", ON_GPUS)
def test_it_has_as_many_gpus_as_it_spreads_over(name: str) -> None:
    found = flags(engine(name)["args"][1:])
    limits = engine(name)["resources"]

    assert limits["requests"]["nvidia.com/gpu"] == limits["limits"]["nvidia.com/gpu"] == found.get("--tensor-parallel-size", "1")


def test_over_several_nodes_there_is_a_node_for_each_stage() -> None:
    objects = rendered("qwen3-vl-235b")
    group = the(objects, "LeaderWorkerSet", "qwen3-vl-235b-engine")["spec"]["leaderWorkerTemplate"]
    found = flags(engine("qwen3-vl-235b")["args"][1:])
    gpus = {container(group[f"{which}Template"])["resources"]["limits"]["nvidia.com/gpu"] for which in ("leader", "worker")}
    told = set(re.findall(r"--num-gpus=(\d+)", str(group)))

    assert str(group["size"]) == found["--pipeline-parallel-size"]
    assert gpus == told == {found["--tensor-parallel-size"]}
    assert found["--distributed-executor-backend"] == "ray"


@pytest.mark.parametrize("name", ON_GPUS)
def test_each_engine_has_models_and_a_name_of_its_own(name: str) -> None:
    """So that two of them stand side by side in one namespace, without sharing a volume or selecting each other's pods."""
    objects = rendered(name)
    folder = {"glm-4.6v-flash-lora": "glm-4.6v-flash"}.get(name, name)
    named = folder.replace(".", "-")
    (claim,) = of_kind(objects, "PersistentVolumeClaim")

    assert claim["metadata"]["name"] == f"{named}-models"
    for owner, pod in engines(objects):
        assert owner.startswith(f"{named}-engine")
        assert pod["metadata"]["labels"]["sightline-model"] == folder
        (models,) = (volume for volume in pod["spec"]["volumes"] if volume["name"] == "models")
        assert models["persistentVolumeClaim"]["claimName"] == f"{named}-models"


@pytest.mark.parametrize("name", [name for name in ON_GPUS if name != "qwen3-vl-235b"])
def test_its_model_is_one_whose_memory_is_known(name: str) -> None:
    """And its volume holds its weights, with half as much to spare."""
    model = engine(name)["args"][0]
    (known,) = (checkpoint for checkpoint in CHECKPOINTS if checkpoint.name == model)
    (claim,) = of_kind(rendered(name), "PersistentVolumeClaim")
    size = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 2**30

    assert 1.5 * known.model.weights(known.form) < size


def test_the_demo_engine_is_started_by_a_command_that_there_is() -> None:
    entrypoint = json.loads(instructions(ENGINE_IMAGE, "ENTRYPOINT")[-1])

    assert entrypoint == ["sightline", "engine", "run"]
    assert unknown_commands(" ".join([*entrypoint, *engine("cpu-demo")["args"]])) == []
