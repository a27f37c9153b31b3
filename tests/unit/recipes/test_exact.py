"""A quantised checkpoint says by pattern which layers are exact, so that vLLM's names for them are met as well."""

import json
from pathlib import Path
from re import match

from quantise import IGNORED, leave_exact


def test_patterns_stand_beside_the_names(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"model_type": "glm4v", "quantization_config": {"format": "x", "ignore": ["model.visual.blocks.0.attn.qkv"]}})
    )

    leave_exact(config)

    told = json.loads(config.read_text())
    assert told == {"model_type": "glm4v", "quantization_config": {"format": "x", "ignore": [*IGNORED, "model.visual.blocks.0.attn.qkv"]}}
    patterns = [one.removeprefix("re:") for one in told["quantization_config"]["ignore"] if one.startswith("re:")]
    for name in ("visual.blocks.0.attn.qkv_proj", "visual.blocks.0.mlp.gate_up_proj"):  # as vLLM 0.32 calls them
        assert any(match(pattern, name) for pattern in patterns)
