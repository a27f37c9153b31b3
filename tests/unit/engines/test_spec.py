"""The engine's command line and environment, made from what was asked for."""

import json
from pathlib import Path

import pytest

from sightline import demo
from sightline.engines.spec import DEMO_NAME, Adapter, choose, command, variables

HERE = Path("/engines/x")


def flag(words: list[str], name: str) -> str:
    """The value that counts: the last one."""
    return words[len(words) - words[::-1].index(name)]


def test_demo_without_a_gpu() -> None:
    """Nobody named a model and there is no GPU: the bundled demo, under its own name, with as many pictures as the gateway admits."""
    words = command(choose(HERE, "cpu"), 8101)

    assert words[:3] == [str(HERE / "bin" / "vllm"), "serve", str(demo.model_path())]
    assert flag(words, "--served-model-name") == DEMO_NAME
    assert json.loads(flag(words, "--limit-mm-per-prompt")) == {"image": 16, "video": 0}


def test_reference_model_on_a_gpu() -> None:
    """Nobody named a model and there is a GPU: the reference model, none of the CPU's flags, the longest context that fits."""
    words = command(choose(HERE, "gpu"), 8101)

    assert words[2] == "zai-org/GLM-4.6V-Flash"
    assert "--enforce-eager" not in words
    assert flag(words, "--max-model-len") == "auto"
    assert flag(words, "--reasoning-parser") == "glm45"


def test_safe_flags_win() -> None:
    """Whatever else is given, the engine listens on loopback and fetches nothing."""
    words = command(choose(HERE, "gpu", extra=("--max-model-len", "8192")), 8101)

    assert flag(words, "--max-model-len") == "8192"
    assert words[-6:] == ["--allowed-media-domains", "nothing.invalid", "--host", "127.0.0.1", "--port", "8101"]


def test_another_host_is_sightlines_to_give() -> None:
    """Where the engine has a machine or a container of its own: `sightline engine run --host`."""
    assert flag(command(choose(HERE, "gpu"), 8000, "0.0.0.0"), "--host") == "0.0.0.0"


@pytest.mark.parametrize("given", ["--api-key", "--host=0.0.0.0", "--allowed_media_domains", "--trust-request-mm-kwargs"])
def test_refused_flags(given: str) -> None:
    """Flags that would open the engine are refused by name, however they are spelled."""
    with pytest.raises(ValueError, match=given.partition("=")[0]):
        choose(HERE, "gpu", extra=(given,))


def test_quantization() -> None:
    """It reaches vLLM as it is."""
    assert flag(command(choose(HERE, "gpu", "some/model-awq", quantization="awq"), 1), "--quantization") == "awq"


def test_adapters(tmp_path: Path) -> None:
    """Each is served under its name, with room for the largest rank."""
    for name, rank in (("small", 4), ("large", 24)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({"r": rank}))
    adapters = tuple(Adapter.parse(f"{name}={tmp_path / name}") for name in ("small", "large"))

    words = command(choose(HERE, "cpu", adapters=adapters), 1)

    assert flag(words, "--max-lora-rank") == "32"
    assert words[words.index("--lora-modules") + 1 :][:2] == [f"small={tmp_path / 'small'}", f"large={tmp_path / 'large'}"]


@pytest.mark.parametrize("text", ["plain", "=path", "name=", "name=/no/such/folder", "name={folder}"])
def test_bad_adapter(text: str, tmp_path: Path) -> None:
    """What is not NAME=PATH of an adapter is refused before anything starts."""
    with pytest.raises(ValueError, match=r"NAME=PATH|does not exist|adapter_config"):
        Adapter.parse(text.format(folder=tmp_path))


def test_key_is_in_the_environment_only() -> None:
    """The key is not on the command line, which others can read."""
    spec = choose(HERE, "cpu")

    assert variables(spec, "secret", {})["VLLM_API_KEY"] == "secret"
    assert "secret" not in " ".join(command(spec, 1))


def test_environment_is_safe() -> None:
    """What would open the engine is not inherited; redirects and usage reports are off; the bundled model asks nobody."""
    inherited = {
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "1",
        "PATH": "/bin",
    }

    found = variables(choose(HERE, "cpu"), "k", inherited)

    assert "VLLM_SERVER_DEV_MODE" not in found
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in found
    assert found["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    assert found["VLLM_NO_USAGE_STATS"] == "1"
    assert found["HF_HUB_OFFLINE"] == "1"
    assert found["PATH"].startswith(str(HERE / "bin"))


def test_operator_may_tune() -> None:
    """Sizes are the operator's: what is set in the environment stays."""
    assert variables(choose(HERE, "cpu"), "k", {"VLLM_CPU_KVCACHE_SPACE": "8"})["VLLM_CPU_KVCACHE_SPACE"] == "8"
