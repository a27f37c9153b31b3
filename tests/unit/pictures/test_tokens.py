"""The formulas give what the models' own processors give. The expected numbers were computed with transformers 5.19's functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.pictures import tokens
from sightline.pictures.tokens import Family, family_of, image_tokens

# (width, height): Qwen2-VL and 2.5-VL, Qwen3-VL, GLM-4V and 4.6V, the demo model's limits, LLaVA 1.5, LLaVA-NeXT
EXPECTED = {
    (8, 8): (4, 64, 9, 16, 576, 1176),
    (20, 100): (4, 72, 14, 18, 576, 696),
    (224, 112): (32, 72, 32, 32, 576, 1752),
    (336, 336): (144, 100, 144, 144, 576, 1176),
    (640, 480): (391, 300, 391, 234, 576, 2340),
    (800, 1200): (1247, 950, 1247, 247, 576, 2160),
    (1024, 768): (999, 768, 999, 234, 576, 2340),
    (1024, 1024): (1369, 1024, 1369, 256, 576, 2928),
    (1024, 6): (27, 105, 171, 171, 576, 576),
    (768, 1024): (999, 768, 999, 234, 576, 2352),
    (1080, 1920): (2691, 2040, 2691, 252, 576, 1968),
    (2048, 1536): (4015, 3072, 4015, 234, 576, 2340),
    (4000, 3000): (15301, 11750, 7500, 234, 576, 2340),
    (5742, 5742): (16384, 16384, 7396, 256, 576, 2928),
    (1448, 2048): (3796, 2880, 3796, 247, 576, 2256),
    (300, 1000): (396, 279, 396, 232, 576, 2232),
}
COLUMNS = [
    (tokens.QWEN2_VL, 0),
    (tokens.QWEN25_VL, 0),
    (tokens.QWEN3_VL, 1),
    (tokens.GLM_4V, 2),
    (tokens.GLM_46V, 2),
    (tokens.DEMO, 3),
    (tokens.LLAVA, 4),
    (tokens.LLAVA_NEXT, 5),
]


@pytest.mark.parametrize(("family", "column"), COLUMNS, ids=[family.name for family, _ in COLUMNS])
@pytest.mark.parametrize("size", EXPECTED, ids=str)
def test_as_the_processor_counts(family: Family, column: int, size: tuple[int, int]) -> None:
    assert EXPECTED[size][column] == image_tokens(family, *size)


def test_no_family_is_left_out() -> None:
    assert [family for family, _ in COLUMNS] == list(tokens.FAMILIES)


def test_a_checkpoint_may_have_limits_of_its_own() -> None:
    demo = image_tokens(tokens.GLM_46V, 1024, 768, least=25_088, most=401_408)
    assert image_tokens(tokens.DEMO, 1024, 768) == demo


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("sightline-demo", tokens.DEMO),
        ("zai-org/GLM-4.6V-Flash", tokens.GLM_46V),
        ("zai-org/GLM-4.1V-9B-Thinking", tokens.GLM_4V),
        ("Qwen/Qwen2-VL-7B-Instruct-AWQ", tokens.QWEN2_VL),
        ("Qwen/Qwen2.5-VL-72B-Instruct", tokens.QWEN25_VL),
        ("Qwen/Qwen3-VL-8B-Instruct-FP8", tokens.QWEN3_VL),
        ("llava-hf/llava-1.5-7b-hf", tokens.LLAVA),
        ("llava-hf/llava-v1.6-mistral-7b-hf", tokens.LLAVA_NEXT),
        ("somebody/else", tokens.QWEN2_VL),
    ],
)
def test_a_name_tells_the_family(model: str, family: Family) -> None:
    assert family is family_of(model)


sides = st.integers(1, 8192)


@pytest.mark.parametrize("family", tokens.FAMILIES, ids=lambda family: family.name)
@given(width=sides, height=sides)
def test_every_size_has_a_count(family: Family, width: int, height: int) -> None:
    """Also those that the engine itself would refuse: a limit has to be reckoned before it does."""
    assert image_tokens(family, width, height) >= 1
