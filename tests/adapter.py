"""A LoRA adapter with random weights for the demo model's attention, written by hand: the format is a JSON header and the numbers."""

import json
import random
import struct
from pathlib import Path

from sightline import demo

ADAPTER = "tiny-adapter"
RANK = 8
PARTS = ("q_proj", "k_proj", "v_proj", "o_proj")


def write_adapter(folder: Path) -> Path:
    """Large enough weights to change every answer; the same at each call."""
    text = json.loads((demo.model_path() / "config.json").read_text())["text_config"]
    width, draw = text["hidden_size"], random.Random(1)
    header, numbers = {}, bytearray()
    for layer in range(text["num_hidden_layers"]):
        for part in PARTS:
            for name, shape in (("lora_A", [RANK, width]), ("lora_B", [width, RANK])):
                weights = struct.pack(f"<{RANK * width}f", *(draw.gauss(0, 0.3) for _ in range(RANK * width)))
                place = [len(numbers), len(numbers) + len(weights)]
                tensor = f"base_model.model.model.language_model.layers.{layer}.self_attn.{part}.{name}.weight"
                header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": place}
                numbers += weights
    head = json.dumps(header).encode()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 16, "bias": "none", "target_modules": PARTS}
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + numbers)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
