"""The package carries all that vLLM needs to serve the demo model, and not much more than its weights."""

import json
import math
from itertools import pairwise
from pathlib import Path

from sightline import demo

MODEL = demo.model_path()
TRAINER = Path(__file__).parents[3] / "deploy" / "engine" / "demo-model"
WEIGHTS = 1_367_296


def test_the_checkpoint_is_complete() -> None:
    assert {path.name for path in MODEL.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_weights_are_whole() -> None:
    """safetensors: 8 bytes of header length, a JSON header with the tensors' offsets, then the tensors without gaps."""
    with (MODEL / "model.safetensors").open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    spans = sorted(tensor["data_offsets"] for tensor in header.values())

    assert sum(math.prod(tensor["shape"]) for tensor in header.values()) == WEIGHTS
    assert all(end == start for (_, end), (start, _) in pairwise(spans))
    assert (MODEL / "model.safetensors").stat().st_size == 8 + length + spans[-1][1]


def test_the_architecture_is_the_one_that_vllm_knows() -> None:
    config = json.loads((MODEL / "config.json").read_text())
    processor = json.loads((MODEL / "processor_config.json").read_text())

    assert config["architectures"] == ["Glm4vForConditionalGeneration"]
    assert processor["processor_class"] == "Glm46VProcessor"  # vLLM finds the size of a picture by this name


def test_the_trainer_builds_with_the_same_chat_template() -> None:
    assert (MODEL / "chat_template.jinja").read_text().strip() == (TRAINER / "chat_template.jinja").read_text().strip()


def test_the_package_stays_small() -> None:
    folder = MODEL.parent
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")

    assert size < 6_000_000
    assert all(path.stat().st_size < 10_000 for path in demo.plates())


def test_every_file_can_be_read_by_everybody() -> None:
    """`safetensors` writes its files for their owner only; an engine that runs as another user has to read them."""
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in [*MODEL.iterdir(), *demo.plates()])
