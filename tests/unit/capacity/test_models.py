"""The table of checkpoints is what was published: sizes, cache, and what therefore fits on a GPU."""

import pytest

from sightline.capacity.models import CHECKPOINTS, FORMATS, GPUS, fit, smallest
from sightline.capacity.plan import find_gpu, find_model
from sightline.capacity.speed import Question, pace

FLASH = find_model("GLM-4.6V-Flash")


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        # What the files of the published checkpoints weigh together (their `total_size`), to a percent.
        pytest.param("Qwen3-VL-8B-Instruct", 17.53, id="Qwen3-VL-8B"),
        pytest.param("Qwen2.5-VL-7B-Instruct", 16.58, id="Qwen2.5-VL-7B"),
        pytest.param("Qwen2.5-VL-72B-Instruct", 146.8, id="Qwen2.5-VL-72B"),
        pytest.param("GLM-4.6V-Flash", 20.59, id="GLM-4.6V-Flash"),
        pytest.param("GLM-4.6V", 215.5, id="GLM-4.6V"),
        pytest.param("Qwen2.5-VL-7B-Instruct-AWQ", 6.93, id="Qwen2.5-VL-7B-AWQ"),
    ],
)
def test_weights(name: str, gigabytes: float) -> None:
    checkpoint = find_model(name)

    assert checkpoint.model.weights(checkpoint.form) / 1e9 == pytest.approx(gigabytes, rel=0.01)


def test_a_token_of_cache() -> None:
    """40 layers × 2 KV heads × 128 numbers, key and value, 2 bytes each."""
    assert FLASH.model.cache_bytes == 2 * 40 * 2 * 128 * 2 == 40_960


def test_the_reference_model_fits_on_one_consumer_gpu() -> None:
    """24,564 MiB × 0.92 less 20.59 GB of weights less 2 GiB leave 0.96 GB: 23 thousand tokens."""
    lies = fit(FLASH, find_gpu("RTX 4090"))

    assert lies.cache == pytest.approx(24_564 * 2**20 * 0.92 - 20.5856e9 - 2 * 2**30, rel=0.01)
    assert lies.tokens == int(lies.cache / 40_960)
    assert (lies.longest, lies.flags) == (22_528, ["--max-model-len", "22528"])


def test_what_is_too_large_is_spread_over_as_few_gpus_as_hold_it() -> None:
    lies = smallest(find_model("GLM-4.6V-FP8"), find_gpu("H100"))

    assert lies is not None
    assert lies.gpus == 2
    assert lies.flags == ["--max-model-len", "131072", "--tensor-parallel-size", "2", "--enable-expert-parallel"]
    assert smallest(find_model("GLM-4.6V"), find_gpu("L4")) is None


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda one: one.name.rpartition("/")[2])
def test_the_parts_of_a_model_are_within_the_whole(checkpoint: object) -> None:
    """What is left beside tower, linear layers and head is the embedding and less than a percent of norms and routers."""
    model = next(one for one in CHECKPOINTS if one is checkpoint).model

    rest = model.parameters - model.linear - model.vision - model.output
    embedding = model.output or rest
    assert 0 <= rest - embedding < 0.01 * model.parameters
    assert 0 <= model.experts < model.linear
    assert model.weights(FORMATS["AWQ"]) < model.weights(FORMATS["INT8"]) < model.weights(FORMATS["BF16"])


@pytest.mark.parametrize(
    ("gpu", "side", "seconds"),
    [
        # One stream, 128 tokens (RedHatAI's card of Qwen2.5-VL-7B-Instruct-FP8-Dynamic, vLLM 0.7.2); pictures of 640×480 and 1680×2240.
        pytest.param("RTX-A6000", 391, 3.2, id="A6000, small picture"),
        pytest.param("RTX-A6000", 4800, 4.9, id="A6000, page"),
        pytest.param("A100-80GB", 391, 1.7, id="A100, small picture"),
        pytest.param("A100-80GB", 4800, 2.8, id="A100, page"),
        pytest.param("H100", 391, 1.2, id="H100, small picture"),
        pytest.param("H100", 4800, 2.0, id="H100, page"),
    ],
)
def test_the_estimate_of_one_answer_is_within_half_of_what_was_published(gpu: str, side: int, seconds: float) -> None:
    lies = fit(find_model("Qwen2.5-VL-7B-Instruct"), find_gpu(gpu))

    assert pace(lies, Question(text=64, picture=side, answer=128), 1).seconds == pytest.approx(seconds, rel=0.55)


def test_names_are_unique() -> None:
    assert len({one.name.rpartition("/")[2].lower() for one in CHECKPOINTS}) == len(CHECKPOINTS)
    assert len({one.name for one in GPUS}) == len(GPUS)
