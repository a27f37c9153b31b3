"""How many tokens a picture becomes, by the model family's own formula: for limits before the engine has counted, and for what is saved.

One table, each row with its source. The numbers count the picture's placeholders alone, without the markers that a chat template puts
round them. `least` and `most` are the pixels that a checkpoint's processor scales to (`min_pixels` and `max_pixels`, or `shortest_edge` and
`longest_edge`, which despite their names are areas); a checkpoint may have others than the family's, so they can be given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Family:
    """`unit` is the side in pixels of the square that becomes one token."""

    name: str
    source: str
    count: Callable[["Family", int, int], int]
    unit: int = 28
    least: int = 0
    most: int = 0


def image_tokens(family: Family, width: int, height: int, *, least: int | None = None, most: int | None = None) -> int:
    """The tokens of a picture of this size (prepared, in pixels)."""
    if least is not None or most is not None:
        own = (family.least if least is None else least, family.most if most is None else most)
        family = Family(family.name, family.source, family.count, family.unit, *own)
    return family.count(family, width, height)


@lru_cache(1024)
def family_of(model: str) -> Family:
    """The family that a model's name tells of; Qwen2-VL's dense grid for one that tells of none, so that limits err on the high side."""
    plain = "".join(letter for letter in model.lower() if letter.isalnum())
    return next((family for mark, family in _MARKS if mark in plain), QWEN2_VL)


def _qwen(family: Family, width: int, height: int) -> int:
    """`smart_resize` of qwen2_vl: both sides to whole units, the area to between `least` and `most`."""
    unit = family.unit
    across, down = round(width / unit) * unit, round(height / unit) * unit
    if across * down > family.most:
        shrink = math.sqrt(width * height / family.most)
        across, down = (max(unit, math.floor(side / shrink / unit) * unit) for side in (width, height))
    elif across * down < family.least:
        grow = math.sqrt(family.least / (width * height))
        across, down = (math.ceil(side * grow / unit) * unit for side in (width, height))
    return (across // unit) * (down // unit)


FRAMES = 2  # GLM counts a still picture as `temporal_patch_size` equal frames, so its area limits hold for twice the area


def _glm(family: Family, width: int, height: int) -> int:
    """`smart_resize` of glm46v: as Qwen's, but a side below one unit is scaled up first, and areas count for both frames."""
    unit = family.unit
    if min(width, height) < unit:
        grow = max(unit / height, unit / width)
        width, height = int(width * grow), int(height * grow)
    across, down = round(width / unit) * unit, round(height / unit) * unit
    if FRAMES * across * down > family.most:
        shrink = math.sqrt(FRAMES * width * height / family.most)
        across, down = (max(unit, math.floor(side / shrink / unit) * unit) for side in (width, height))
    elif FRAMES * across * down < family.least:
        grow = math.sqrt(family.least / (FRAMES * width * height))
        across, down = (math.ceil(side * grow / unit) * unit for side in (width, height))
    return (across // unit) * (down // unit)


TILE = 336  # CLIP ViT-L/14-336
SIDE = TILE // 14  # patches


def _llava(family: Family, width: int, height: int) -> int:  # noqa: ARG001 - every picture becomes one tile
    """One tile whatever the size; the class token is taken off again (`vision_feature_select_strategy: default`)."""
    return SIDE * SIDE


# (height, width), in the order in which transformers tries them.
PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))


def _llava_next(family: Family, width: int, height: int) -> int:  # noqa: ARG001 - the tiles are fixed
    """A tile of the whole, and tiles of the best fitting grid with what was padded taken off again and a newline for each row."""

    def fitness(grid: tuple[int, int]) -> tuple[int, int]:
        scale = min(grid[1] / width, grid[0] / height)
        used = min(int(width * scale) * int(height * scale), width * height)
        return used, used - grid[0] * grid[1]

    best = max(PINPOINTS, key=fitness)
    down, across = best[0] // TILE * SIDE, best[1] // TILE * SIDE
    if width / height > across / down:
        down -= (down - int(round(height * (across / width), 7))) // 2 * 2
    else:
        across -= (across - int(round(width * (down / height), 7))) // 2 * 2
    return down * across + down + SIDE * SIDE


QWEN2_VL = Family(
    "qwen2-vl",
    "transformers 5.19 models/qwen2_vl/image_processing_qwen2_vl.py smart_resize; limits as in the checkpoints and qwen-vl-utils",
    _qwen,
    unit=28,
    least=4 * 28 * 28,
    most=16_384 * 28 * 28,
)
QWEN25_VL = Family("qwen2.5-vl", "as qwen2-vl: its processor is Qwen2VLImageProcessor", _qwen, QWEN2_VL.unit, QWEN2_VL.least, QWEN2_VL.most)
QWEN3_VL = Family(
    "qwen3-vl",
    "as qwen2-vl with patches of 16: transformers 5.19 models/qwen3_vl; limits as in the released checkpoints",
    _qwen,
    unit=32,
    least=64 * 32 * 32,
    most=16_384 * 32 * 32,
)
GLM_4V = Family(
    "glm-4v",
    "transformers 5.19 models/glm4v/image_processing_glm4v.py smart_resize and `size`; vllm 0.32 models/glm4_1v.py get_num_image_tokens",
    _glm,
    unit=28,
    least=112 * 112,
    most=28 * 28 * 15_000,
)
GLM_46V = Family("glm-4.6v", "as glm-4v: models/glm46v/image_processing_glm46v.py", _glm, GLM_4V.unit, GLM_4V.least, GLM_4V.most)
DEMO = Family("sightline-demo", "as glm-4.6v, with the limits of its own processor_config.json", _glm, unit=28, least=25_088, most=401_408)
LLAVA = Family("llava", "transformers 5.19 models/llava/processing_llava.py: one 336 px tile of 14 px patches", _llava, unit=14)
LLAVA_NEXT = Family(
    "llava-next", "transformers 5.19 models/llava_next/processing_llava_next.py, `image_grid_pinpoints`", _llava_next, unit=14
)

FAMILIES = (QWEN2_VL, QWEN25_VL, QWEN3_VL, GLM_4V, GLM_46V, DEMO, LLAVA, LLAVA_NEXT)

# What a name contains, letters and digits only; the first that fits decides.
_MARKS = (
    ("sightlinedemo", DEMO),
    ("qwen3", QWEN3_VL),
    ("qwen25", QWEN25_VL),
    ("qwen", QWEN2_VL),
    ("glm46v", GLM_46V),
    ("glm", GLM_4V),
    ("llavanext", LLAVA_NEXT),
    ("llavav16", LLAVA_NEXT),
    ("llava16", LLAVA_NEXT),
    ("llava", LLAVA),
)
