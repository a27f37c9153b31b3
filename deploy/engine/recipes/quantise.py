"""Makes a checkpoint smaller for vLLM, by llm-compressor: the language model's linear layers in 4 or 8 bits, all else as it was.

    python quantise.py MODEL OUT --scheme fp8                            # needs no examples; GPUs from Ada and Hopper on
    python quantise.py MODEL OUT --scheme int8 --examples train.jsonl    # W8A8: weights and activations; GPUs from Turing on, CPUs
    python quantise.py MODEL OUT --scheme awq --examples train.jsonl     # W4A16, group size 128: the smallest; GPUs from Turing on
    sightline up --model ./OUT                                           # the checkpoint says itself how it was quantised

The examples are `inspection.py`'s, and should be of the kind of pictures and questions that the model will see: int8 and awq measure on
them which weights matter. A few hundred are enough. Vision tower and output layer stay exact: they are a small part of the weights and the
first to suffer. `--dry-run` checks the examples and says what would be done, without torch.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from inspection import Example, WrongExample, load

SCHEMES = {"fp8": "FP8_DYNAMIC", "int8": "W8A8", "awq": "W4A16_ASYM"}  # compressed-tensors' names
NEED_EXAMPLES = ("int8", "awq")
LANGUAGE = "re:.*language_model.layers.*"
IGNORED = ["re:.*lm_head", "re:.*visual.*", "re:.*vision_tower.*", "re:.*multi_modal_projector.*", "re:.*mlp.gate$"]


def recipe(scheme: str, model: Any) -> list[Any]:
    """llm-compressor's modifiers."""
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQMapping, AWQModifier

    chosen = {"targets": "Linear", "scheme": SCHEMES[scheme], "ignore": IGNORED}
    if scheme == "fp8":
        return [QuantizationModifier(**chosen)]
    if scheme == "int8":
        return [GPTQModifier(**chosen)]
    # GLM's gate and up projection are one layer, so what goes into the down projection has no single layer to be scaled in.
    fused = any(name.endswith("gate_up_proj") for name, _ in model.named_modules())
    before_mlp = ["gate_up_proj"] if fused else ["gate_proj", "up_proj"]
    pairs = [("input_layernorm", ["q_proj", "k_proj", "v_proj"]), ("v_proj", ["o_proj"]), ("post_attention_layernorm", before_mlp)]
    pairs += [] if fused else [("up_proj", ["down_proj"])]
    mappings = [AWQMapping(f"{LANGUAGE}{smooth}$", [f"{LANGUAGE}{name}$" for name in balanced]) for smooth, balanced in pairs]
    return [AWQModifier(mappings=mappings), QuantizationModifier(**chosen)]


def quantise(name: str, out: Path, scheme: str, examples: list[Example]) -> None:
    """Quantises and writes the checkpoint, processor included."""
    import torch
    from finetune import Collator
    from llmcompressor import oneshot
    from llmcompressor.pipelines.cache import IntermediatesCache
    from torch.utils.data import DataLoader
    from transformers import AutoModelForImageTextToText, AutoProcessor

    on_gpu = torch.cuda.is_available()
    model = AutoModelForImageTextToText.from_pretrained(name, dtype="auto", device_map="auto" if on_gpu else None)
    processor = AutoProcessor.from_pretrained(name)
    options: dict[str, Any] = {}
    if examples:
        make = Collator(processor)
        rows = [{"picture": str(one.picture), "question": one.question, "said": one.said} for one in examples]
        pictures = [{key: value for key, value in make([row]).items() if key != "labels"} for row in rows]
        options = {"dataset": DataLoader(pictures, batch_size=None), "num_calibration_samples": len(rows)}
    if not on_gpu:
        # llm-compressor's AWQ pins its inputs in memory for an accelerator, and torch raises where there is none.
        IntermediatesCache.pin_memory = lambda *_, **__: None
    oneshot(model=model, recipe=recipe(scheme, model), processor=processor, **options)
    model.save_pretrained(out, save_compressed=True)
    processor.save_pretrained(out)
    leave_exact(out / "config.json")


def leave_exact(config: Path) -> None:
    """Says by pattern, too, which layers of a checkpoint are exact.

    llm-compressor names each as transformers does; vLLM names some otherwise (GLM's `visual…attn.qkv` is its `visual…attn.qkv_proj`,
    gate and up projection are one), takes those for quantised, and ends at the first picture or at the start.
    """
    told = json.loads(config.read_text(encoding="utf-8"))
    told["quantization_config"]["ignore"] = [*IGNORED, *told["quantization_config"]["ignore"]]
    config.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or a Hugging Face name")
    parser.add_argument("out", type=Path, help="folder of the new checkpoint")
    parser.add_argument("--scheme", choices=SCHEMES, required=True)
    parser.add_argument("--examples", type=Path, help="JSONL, as inspection.py describes it")
    parser.add_argument("--samples", type=int, default=256, help="examples that are used")
    parser.add_argument("--dry-run", action="store_true", help="check the examples and say what would be done")
    arguments = parser.parse_args()
    if arguments.samples <= 0:
        parser.error("--samples: more than 0")
    if arguments.scheme in NEED_EXAMPLES and arguments.examples is None:
        parser.error(f"--examples: {arguments.scheme} is calibrated on examples")
    try:
        found = load(arguments.examples) if arguments.scheme in NEED_EXAMPLES else []
    except (WrongExample, OSError) as error:
        print(f"quantise: {error}", file=sys.stderr)
        sys.exit(2)
    every = max(1, len(found) // arguments.samples)  # all over the file, since neighbours may be about one picture
    examples = found[::every][: arguments.samples]
    print(f"{arguments.model} as {SCHEMES[arguments.scheme]}, calibrated on {len(examples)} of {len(found)} examples, into {arguments.out}")
    if not arguments.dry_run:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        quantise(arguments.model, arguments.out, arguments.scheme, examples)
        print(f"written: {arguments.out}; serve it with: sightline up --model {arguments.out}")


if __name__ == "__main__":
    main()
