"""Which layers the recipes touch, by the names that transformers gives them: those of the language model, never those that see."""

import re

import pytest
from finetune import EXACT, TARGETS
from quantise import IGNORED, LANGUAGE

LANGUAGE_LAYERS = [
    pytest.param("model.language_model.layers.0.self_attn.q_proj", id="attention"),
    pytest.param("model.language_model.layers.27.self_attn.o_proj", id="attention's output"),
    pytest.param("model.language_model.layers.2.mlp.gate_up_proj", id="GLM's fused gate and up"),
    pytest.param("model.language_model.layers.2.mlp.gate_proj", id="Qwen's gate"),
    pytest.param("model.language_model.layers.2.mlp.down_proj", id="down"),
]
OTHERS = [
    pytest.param("model.visual.blocks.0.attn.qkv", id="vision, attention"),
    pytest.param("model.visual.blocks.0.mlp.gate_proj", id="vision, gate"),
    pytest.param("model.visual.merger.down_proj", id="GLM's merger"),
    pytest.param("model.visual.deepstack_merger_list.0.linear_fc1", id="Qwen3-VL's deepstack"),
    pytest.param("model.vision_tower.encoder.layer.0.attention.q_proj", id="InternVL's tower"),
    pytest.param("model.multi_modal_projector.linear_1", id="InternVL's projector"),
    pytest.param("model.language_model.layers.3.mlp.gate", id="router of a mixture"),
    pytest.param("lm_head", id="output"),
]


@pytest.mark.parametrize("name", LANGUAGE_LAYERS)
def test_language_layers_are_taught_and_quantised(name: str) -> None:
    assert re.fullmatch(TARGETS, name)
    assert not _left_exact(name)
    assert re.match(LANGUAGE.removeprefix("re:"), name)
    assert not name.startswith(tuple(EXACT))


@pytest.mark.parametrize("name", OTHERS)
def test_all_others_stay_as_they_are(name: str) -> None:
    assert not re.fullmatch(TARGETS, name)
    assert _left_exact(name)
    assert name.startswith(tuple(EXACT)) == ("language_model" not in name)


def _left_exact(name: str) -> bool:
    """As compressed-tensors reads its patterns: from the name's beginning, to anywhere."""
    return any(re.match(pattern.removeprefix("re:"), name) for pattern in IGNORED)
