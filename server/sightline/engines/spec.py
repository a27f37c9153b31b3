"""Which model is served and how: the command line and environment of `vllm serve`, made from values.

Every flag that keeps the engine from reaching out, or others from reaching in, comes last, where it wins over the operator's own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline import demo
from sightline.engines.install import Kind

DEMO_NAME = "sightline-demo"
GPU_MODEL = "zai-org/GLM-4.6V-Flash"
CONTEXT_DEMO = 4096  # tokens: all that the demo model has places for; 16 pictures of plates take 544

# Would open the engine to others, to the network or to what callers put into requests, or is ours to give.
REFUSED = frozenset(
    {
        "--host", "--port", "--uds", "--api-key", "--allowed-media-domains", "--allowed-local-media-path", "--trust-request-mm-kwargs",
        "--trust-request-chat-template", "--enable-mm-embeds", "--enable-prompt-embeds", "--allowed-origins", "--root-path", "--headless",
    }
)  # fmt: skip
_PARSERS = {  # by a part of the model's name in lower case: how it writes tool calls, and thoughts
    "glm-4.6v": ("glm45", "glm45"),
    "glm-4.5v": ("glm45", "glm45"),
    "qwen2.5-vl": ("hermes", None),
    "qwen3-vl": ("hermes", None),
    DEMO_NAME: ("glm47", None),
}
# Never inherited: they would change what the engine allows, where it listens, or which packages it loads.
_DROPPED = (
    "VLLM_SERVER_DEV_MODE",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
    "VLLM_API_KEY",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONDONTWRITEBYTECODE",  # three processes import vLLM, one after the other: without bytecode that takes twice as long
)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter and the name under which it is asked."""

    name: str
    path: str

    @classmethod
    def parse(cls, text: str) -> "Adapter":
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(f"{text!r} is not NAME=PATH")
        if Path(path).exists():
            if not (Path(path) / "adapter_config.json").is_file():
                raise ValueError(f"{path} is not a LoRA adapter: it has no adapter_config.json")
            return cls(name, str(Path(path).resolve()))
        if path.startswith((".", "/", "~")):
            raise ValueError(f"{path} does not exist")
        return cls(name, path)  # a repository's name

    def rank(self) -> int:
        """Its rank, or 16 (vLLM's own default) where only the engine can find out."""
        try:
            return int(json.loads((Path(self.path) / "adapter_config.json").read_text(encoding="utf-8"))["r"])
        except (OSError, ValueError, KeyError, TypeError):
            return 16


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """`environment` is the folder that `install` made; `extra` are more flags of `vllm serve`, for which vLLM answers."""

    environment: Path
    kind: Kind
    model: str
    name: str
    quantization: str | None = None
    adapters: tuple[Adapter, ...] = ()
    images: int = 16
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for flag in self.extra:
            if flag.partition("=")[0].replace("_", "-") in REFUSED:
                raise ValueError(
                    f"{flag.partition('=')[0]} is Sightline's to give: the engine listens to the gateway only and fetches nothing"
                )

    @property
    def is_demo(self) -> bool:
        return self.name == DEMO_NAME


def choose(
    environment: Path,
    kind: Kind,
    model: str | None = None,
    *,
    quantization: str | None = None,
    adapters: tuple[Adapter, ...] = (),
    images: int = 16,
    extra: tuple[str, ...] = (),
) -> EngineSpec:
    """The model that was named, else what this machine can serve: the reference model on a GPU, the bundled demo without one."""
    if model is None and kind == "cpu":
        model = str(demo.model_path())
    model = model or GPU_MODEL
    name = DEMO_NAME if Path(model).resolve() == demo.model_path().resolve() else model
    return EngineSpec(environment, kind, model, name, quantization, adapters, images, extra)


def command(spec: EngineSpec, port: int, host: str = "127.0.0.1") -> list[str]:
    flags = [str(spec.environment / "bin" / "vllm"), "serve", spec.model, "--served-model-name", spec.name]
    flags += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log", "--disable-fastapi-docs", "--no-enable-log-requests"]
    flags += ["--structured-outputs-config", json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})]
    flags += ["--limit-mm-per-prompt", json.dumps({"image": spec.images, "video": 0})]
    flags += _parsers(spec.name)
    if spec.is_demo:
        flags += ["--dtype", "float32", "--max-model-len", str(CONTEXT_DEMO), "--max-num-seqs", "16"]
    else:
        flags += ["--max-model-len", "auto"]  # the longest that fits beside the weights
    if spec.kind == "cpu":
        flags += ["--enforce-eager", "--block-size", "32"]  # 128, the CPU's default, would hide most shared prefixes
    if spec.quantization:
        flags += ["--quantization", spec.quantization]
    if spec.adapters:
        flags += ["--enable-lora", "--max-loras", str(min(len(spec.adapters), 4)), "--max-cpu-loras", str(len(spec.adapters))]
        flags += ["--max-lora-rank", str(_fitting(max(adapter.rank() for adapter in spec.adapters)))]
        flags += ["--lora-modules", *(f"{adapter.name}={adapter.path}" for adapter in spec.adapters)]
    flags += spec.extra
    # A domain that cannot exist (RFC 2606): vLLM itself refuses any picture that is a URL. Sightline sends bytes only.
    flags += ["--allowed-media-domains", "nothing.invalid", "--host", host, "--port", str(port)]
    return flags


def variables(spec: EngineSpec, key: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The engine's environment. The key goes here and not on the command line, which every user of the machine can read."""
    chosen = {name: value for name, value in inherited.items() if name not in _DROPPED and not name.startswith("SIGHTLINE_")}
    if spec.kind == "cpu":
        # One thread is the fastest for a model this small; what is not the demo takes the machine's cores.
        tuning = {"TORCHDYNAMO_DISABLE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "4"}
        if spec.is_demo:
            tuning |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
        chosen = tuning | chosen
    if Path(spec.model).is_dir():
        chosen |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return chosen | {
        "VLLM_API_KEY": key,
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "PATH": f"{spec.environment / 'bin'}:{chosen.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }


def _parsers(name: str) -> list[str]:
    for part, (tools, thoughts) in _PARSERS.items():
        if part in name.lower():
            flags = ["--enable-auto-tool-choice", "--tool-call-parser", tools]
            return [*flags, "--reasoning-parser", thoughts] if thoughts else flags
    return []


def _fitting(rank: int) -> int:
    """The smallest rank that vLLM has kernels for and that holds `rank`."""
    return next((allowed for allowed in (1, 8, 16, 32, 64, 128, 256, 320, 512) if allowed >= rank), rank)
