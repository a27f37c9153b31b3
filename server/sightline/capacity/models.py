"""Checkpoints and GPUs: what is published of them, and what follows for memory. One table, read by `sightline plan` and by the documents.

A checkpoint's weights are its parameters times their bits; a token in the KV cache is 2 (key and value) × layers × KV heads × head size × 2
bytes. Numbers of parameters are counted from the published configuration (transformers 5.19, on the `meta` device) and agree with the sizes
that the models' cards give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

GIB = 2**30
# The share of a GPU's memory that vLLM 0.32 takes unless told otherwise (`--gpu-memory-utilization`, vllm/config/cache.py).
UTILISATION = 0.92
# Of that, what activations, the vision tower at its largest picture, CUDA graphs and NCCL take. An assumption, on the careful side for
# batches of 2,048 to 8,192 tokens; what it really is stands in vLLM's log at every start ("Available KV cache memory").
WORKING_BYTES = 2 * GIB
LEAST_CACHE = 8192  # tokens: below that a checkpoint is not called fitting, since a request with several pictures would not


@dataclass(frozen=True, slots=True)
class Format:
    """`bits` of a weight in the language model's linear layers, scales and zero points included. All other weights have 16."""

    name: str
    bits: float
    source: str


FORMATS = {
    one.name: one
    for one in (
        Format("BF16", 16, "as trained"),
        Format("FP8", 8 + 32 / 128**2, "blocks of 128 × 128 with a 32-bit scale, as Qwen publishes; weights and activations"),
        Format("INT8", 8, "W8A8 of llm-compressor: a scale a channel, which is nothing beside its weights"),
        Format("AWQ", 4 + (16 + 4) / 128, "groups of 128 with a 16-bit scale and a 4-bit zero point"),
    )
}


@dataclass(frozen=True, slots=True)
class Model:
    """`linear` are the language model's linear weights (which quantisation makes smaller), `experts` those of them in routed experts, of
    which a token uses the share `used`; `output` is the head (0: the embedding serves as head), `vision` the tower with its projector.
    """

    name: str
    parameters: int
    linear: int
    vision: int
    output: int
    layers: int
    kv_heads: int
    head: int
    context: int
    source: str
    experts: int = 0
    used: float = 1.0

    @property
    def cache_bytes(self) -> int:
        """Bytes a token in the KV cache."""
        return 2 * self.layers * self.kv_heads * self.head * 2

    @property
    def active(self) -> float:
        """Linear weights that a token goes through."""
        return self.linear - self.experts * (1 - self.used)

    def weights(self, form: Format) -> float:
        """Bytes of the checkpoint."""
        return (self.parameters - self.linear) * 2 + self.linear * form.bits / 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What `--model` names, or, without `published`, what `deploy/engine/recipes/quantise.py` makes of the model."""

    name: str
    model: Model
    form: Format
    published: bool = True


@dataclass(frozen=True, slots=True)
class Gpu:
    """`memory` in bytes as nvidia-smi gives it, `bandwidth` in bytes/s, dense tensor operations/s with 16-bit and with 8-bit numbers.

    Without `fp8` those 8-bit numbers are integers only, and vLLM multiplies FP8 weights as 16-bit ones.
    """

    name: str
    memory: int
    bandwidth: float
    flops: float
    flops8: float
    fp8: bool
    source: str


@dataclass(frozen=True, slots=True)
class Fit:
    """How a checkpoint lies on `gpus` GPUs of a kind (tensor parallel): bytes on each, and tokens that the cache holds."""

    checkpoint: Checkpoint
    gpu: Gpu
    gpus: int
    weights: float
    cache: float
    tokens: int

    @property
    def fits(self) -> bool:
        return self.tokens >= LEAST_CACHE

    @property
    def longest(self) -> int:
        """`--max-model-len`: what one request may take, whole thousands (1,024), at most the model's context."""
        return min(self.checkpoint.model.context, self.tokens // 1024 * 1024)

    @property
    def flags(self) -> list[str]:
        """What `vllm serve` (or `sightline up --`) is told beyond the model."""
        flags = ["--max-model-len", str(self.longest)]
        if self.gpus > 1:
            flags += ["--tensor-parallel-size", str(self.gpus)]
        if self.checkpoint.model.experts and self.gpus > 1:
            flags += ["--enable-expert-parallel"]
        return flags


def fit(checkpoint: Checkpoint, gpu: Gpu, gpus: int = 1) -> Fit:
    """On each GPU: memory × 0.92 − weights / GPUs − 2 GiB is the cache; a GPU holds its share of the KV heads, but at least one."""
    model = checkpoint.model
    weights = model.weights(checkpoint.form) / gpus
    cache = gpu.memory * UTILISATION - weights - WORKING_BYTES
    token = model.cache_bytes * max(1, model.kv_heads // gpus) / model.kv_heads
    return Fit(checkpoint, gpu, gpus, weights, max(0.0, cache), max(0, int(cache / token)))


def smallest(checkpoint: Checkpoint, gpu: Gpu) -> Fit | None:
    """On as few GPUs as it fits on, of 1, 2, 4 or 8."""
    return next((found for count in (1, 2, 4, 8) if (found := fit(checkpoint, gpu, count)).fits), None)


_QWEN3 = "Qwen3-VL's published config.json (text_config, vision_config); sizes as on the cards"
_QWEN25 = "Qwen2.5-VL's published config.json; sizes as on the cards"

GLM_FLASH = Model(
    "GLM-4.6V-Flash", 10_292_777_472, 8_157_921_280, 892_498_432, 620_756_992, 40, 2, 128, 131_072,
    "glm4v (dense, as GLM-4.1V-9B): config.json; card: 10B parameters, context 128K",
)  # fmt: skip
GLM = Model(
    "GLM-4.6V", 107_744_743_936, 105_586_098_176, 892_498_432, 620_756_992, 46, 8, 128, 131_072,
    "glm4v_moe: config.json; card: 106B with 12B active, context 128K; vLLM's GLM-V recipe",
    experts=99_656_663_040, used=8 / 128,
)  # fmt: skip
QWEN3_2B = Model("Qwen3-VL-2B", 2_127_532_032, 1_409_286_144, 406_957_056, 0, 28, 8, 128, 262_144, _QWEN3)
QWEN3_4B = Model("Qwen3-VL-4B", 4_437_815_808, 3_633_315_840, 415_347_712, 0, 36, 8, 128, 262_144, _QWEN3)
QWEN3_8B = Model("Qwen3-VL-8B", 8_767_123_696, 6_945_767_424, 576_388_336, 622_329_856, 36, 8, 128, 262_144, _QWEN3)
QWEN3_32B = Model("Qwen3-VL-32B", 33_357_390_064, 31_205_621_760, 595_266_800, 777_912_320, 64, 8, 128, 262_144, _QWEN3)
QWEN3_30B = Model(
    "Qwen3-VL-30B-A3B", 31_070_754_032, 29_896_998_912, 538_631_408, 311_164_928, 48, 4, 128, 262_144, _QWEN3,
    experts=28_991_029_248, used=8 / 128,
)  # fmt: skip
QWEN25_3B = Model("Qwen2.5-VL-3B", 3_754_622_976, 2_774_532_096, 668_684_288, 0, 36, 2, 128, 128_000, _QWEN25)
QWEN25_7B = Model("Qwen2.5-VL-7B", 8_292_166_656, 6_525_288_448, 676_550_144, 544_997_376, 28, 4, 128, 128_000, _QWEN25)
QWEN25_32B = Model("Qwen2.5-VL-32B", 33_452_718_336, 31_205_621_760, 688_841_984, 778_567_680, 64, 8, 128, 128_000, _QWEN25)
QWEN25_72B = Model("Qwen2.5-VL-72B", 73_410_777_344, 70_212_648_960, 704_573_696, 1_245_708_288, 80, 8, 128, 128_000, _QWEN25)
INTERNVL_8B = Model(
    "InternVL3.5-8B", 8_528_244_736, 6_945_767_424, 337_509_376, 622_329_856, 36, 8, 128, 40_960,
    "internvl with Qwen3-8B and InternViT-300M: config.json; card: 8.5B",
)  # fmt: skip

_LIST: tuple[tuple[str, Model, str, bool], ...] = (
    ("zai-org/GLM-4.6V-Flash", GLM_FLASH, "BF16", True),
    ("GLM-4.6V-Flash-FP8", GLM_FLASH, "FP8", False),
    ("GLM-4.6V-Flash-INT8", GLM_FLASH, "INT8", False),
    ("GLM-4.6V-Flash-AWQ", GLM_FLASH, "AWQ", False),
    ("zai-org/GLM-4.6V", GLM, "BF16", True),
    ("zai-org/GLM-4.6V-FP8", GLM, "FP8", True),
    ("Qwen/Qwen3-VL-2B-Instruct", QWEN3_2B, "BF16", True),
    ("Qwen/Qwen3-VL-2B-Instruct-FP8", QWEN3_2B, "FP8", True),
    ("Qwen/Qwen3-VL-4B-Instruct", QWEN3_4B, "BF16", True),
    ("Qwen/Qwen3-VL-4B-Instruct-FP8", QWEN3_4B, "FP8", True),
    ("Qwen/Qwen3-VL-8B-Instruct", QWEN3_8B, "BF16", True),
    ("Qwen/Qwen3-VL-8B-Instruct-FP8", QWEN3_8B, "FP8", True),
    ("Qwen3-VL-8B-Instruct-AWQ", QWEN3_8B, "AWQ", False),
    ("Qwen/Qwen3-VL-30B-A3B-Instruct", QWEN3_30B, "BF16", True),
    ("Qwen/Qwen3-VL-30B-A3B-Instruct-FP8", QWEN3_30B, "FP8", True),
    ("Qwen/Qwen3-VL-32B-Instruct", QWEN3_32B, "BF16", True),
    ("Qwen/Qwen3-VL-32B-Instruct-FP8", QWEN3_32B, "FP8", True),
    ("Qwen/Qwen2.5-VL-3B-Instruct", QWEN25_3B, "BF16", True),
    ("Qwen/Qwen2.5-VL-3B-Instruct-AWQ", QWEN25_3B, "AWQ", True),
    ("Qwen/Qwen2.5-VL-7B-Instruct", QWEN25_7B, "BF16", True),
    ("Qwen/Qwen2.5-VL-7B-Instruct-AWQ", QWEN25_7B, "AWQ", True),
    ("RedHatAI/Qwen2.5-VL-7B-Instruct-quantized.w8a8", QWEN25_7B, "INT8", True),
    ("Qwen/Qwen2.5-VL-32B-Instruct", QWEN25_32B, "BF16", True),
    ("Qwen/Qwen2.5-VL-32B-Instruct-AWQ", QWEN25_32B, "AWQ", True),
    ("Qwen/Qwen2.5-VL-72B-Instruct", QWEN25_72B, "BF16", True),
    ("Qwen/Qwen2.5-VL-72B-Instruct-AWQ", QWEN25_72B, "AWQ", True),
    ("RedHatAI/Qwen2.5-VL-72B-Instruct-quantized.w8a8", QWEN25_72B, "INT8", True),
    ("OpenGVLab/InternVL3_5-8B-HF", INTERNVL_8B, "BF16", True),
)
CHECKPOINTS: Sequence[Checkpoint] = tuple(Checkpoint(name, model, FORMATS[form], published) for name, model, form, published in _LIST)

_NVIDIA = "NVIDIA's data sheet, dense; memory as nvidia-smi gives it"


def _gpu(name: str, mebibytes: int, gigabytes_a_second: float, teraflops: float, teraflops8: float, *, fp8: bool = True) -> Gpu:
    return Gpu(name, mebibytes * 2**20, gigabytes_a_second * 1e9, teraflops * 1e12, teraflops8 * 1e12, fp8, _NVIDIA)


GPUS: Sequence[Gpu] = (
    _gpu("L4", 23_034, 300, 121, 242),
    _gpu("RTX-4090", 24_564, 1008, 165, 330),
    _gpu("L40S", 46_068, 864, 362, 733),
    _gpu("RTX-A6000", 49_140, 768, 155, 310, fp8=False),
    _gpu("A100-80GB", 81_920, 2039, 312, 624, fp8=False),
    _gpu("H100", 81_559, 3350, 989, 1979),
    _gpu("H200", 143_771, 4800, 989, 1979),
)
