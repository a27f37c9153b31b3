"""Teaches a vision-language model an inspection task: a LoRA adapter, which vLLM serves beside its model.

    python finetune.py Qwen/Qwen3-VL-8B-Instruct data/train.jsonl adapter              # LoRA, the model in BF16
    python finetune.py Qwen/Qwen3-VL-8B-Instruct data/train.jsonl adapter --qlora      # QLoRA: the model in 4 bits (NF4), half the memory
    sightline up --model Qwen/Qwen3-VL-8B-Instruct --lora inspection=adapter           # then ask for "model": "inspection"

The examples are `inspection.py`'s. Adapters are put on the linear layers of the language model, all others stay as they are: vLLM serves
such an adapter anywhere. Only answers are learnt, not questions. `--dry-run` checks the examples and says what would be done.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection import Example, WrongExample, load

# The language model's own linear layers, as transformers names them in the Qwen-VL, GLM-V and InternVL families. Experts of a
# mixture are not among them: few tools can train those, and vLLM cannot serve all.
TARGETS = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down|gate_up)_proj)"
# What QLoRA leaves in 16 bits, by the beginnings of names: transformers compares from there, so that "visual" alone would leave nothing.
EXACT = ["lm_head", "model.visual", "model.vision_tower", "model.multi_modal_projector"]
IGNORED = -100  # the label of what is not learnt, by torch's convention


@dataclass(frozen=True, slots=True)
class Course:
    """How it is taught. `batch` examples are worked on at once, `accumulate` of those make one step."""

    model: str
    out: Path
    qlora: bool
    rank: int
    rate: float
    epochs: float
    steps: int
    batch: int
    accumulate: int
    seed: int

    def planned(self, examples: int) -> int:
        """Steps in all."""
        return self.steps or max(1, round(self.epochs * examples / (self.batch * self.accumulate)))


class Collator:
    """Makes a batch of examples what the model takes, labels included; the processor is the model's own."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._processor.tokenizer.padding_side = "right"
        self._end = processor.tokenizer.eos_token

    def __call__(self, rows: Sequence[dict[str, str]]) -> dict[str, Any]:
        from PIL import Image

        pictures = [Image.open(row["picture"]).convert("RGB") for row in rows]
        asked = [self._asked(row["question"]) for row in rows]
        # The engine's own template writes the question; the answer follows as it is, with the token that ends it.
        whole = [question + row["said"] + self._end for question, row in zip(asked, rows, strict=True)]
        batch = dict(self._processor(text=whole, images=pictures, padding=True, return_tensors="pt"))
        labels = batch["input_ids"].clone()
        labels[batch["attention_mask"] == 0] = IGNORED
        for place, (question, picture) in enumerate(zip(asked, pictures, strict=True)):
            labels[place, : self._processor(text=[question], images=[picture], return_tensors="pt")["input_ids"].shape[1]] = IGNORED
        return batch | {"labels": labels}

    def _asked(self, question: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)
        return str(text)


def teach(course: Course, examples: Sequence[Example]) -> None:
    """Trains and writes the adapter."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    on_gpu = torch.cuda.is_available()
    exact = torch.bfloat16 if on_gpu else torch.float32
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=exact,
        # Vision and output stay exact: they are a small part of the weights and most of what is lost.
        llm_int8_skip_modules=EXACT,
    )  # fmt: skip
    options: dict[str, Any] = {"quantization_config": four_bits} if course.qlora else {}
    model = AutoModelForImageTextToText.from_pretrained(course.model, dtype=exact, device_map="auto" if on_gpu else None, **options)
    if not any(re.fullmatch(TARGETS, name) for name, _ in model.named_modules()):
        raise SystemExit(f"finetune: {course.model} has no layers named as in {TARGETS}")
    processor = AutoProcessor.from_pretrained(course.model)
    steps = course.planned(len(examples))
    settings = SFTConfig(
        output_dir=str(course.out), max_steps=steps, learning_rate=course.rate, lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 20), per_device_train_batch_size=course.batch, gradient_accumulation_steps=course.accumulate,
        max_grad_norm=1.0, seed=course.seed, bf16=on_gpu, use_cpu=not on_gpu, gradient_checkpointing=on_gpu,
        optim="paged_adamw_8bit" if course.qlora and on_gpu else "adamw_torch",
        logging_steps=max(1, steps // 20), save_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True}, dataloader_pin_memory=on_gpu, max_length=None,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list([{"picture": str(one.picture), "question": one.question, "said": one.said} for one in examples]),
        data_collator=Collator(processor),
        processing_class=processor,
        peft_config=LoraConfig(r=course.rank, lora_alpha=2 * course.rank, target_modules=TARGETS, task_type="CAUSAL_LM"),
    )
    trainer.train()
    trainer.model.save_pretrained(course.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or a Hugging Face name")
    parser.add_argument("examples", type=Path, help="JSONL, as inspection.py describes it")
    parser.add_argument("out", type=Path, help="folder of the adapter")
    parser.add_argument("--qlora", action="store_true", help="hold the model in 4 bits while the adapter is trained")
    parser.add_argument("--rank", type=int, default=16, help="of the adapter; vLLM has kernels for 8, 16, 32, 64, 128, …")
    parser.add_argument("--rate", type=float, default=2e-4, help="highest learning rate")
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--steps", type=int, default=0, help="instead of epochs")
    parser.add_argument("--batch", type=int, default=4, help="examples at once: what fits into memory")
    parser.add_argument("--accumulate", type=int, default=4, help="batches a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry-run", action="store_true", help="check the examples and say what would be done")
    arguments = parser.parse_args()
    for name in ("rank", "rate", "epochs", "batch", "accumulate"):
        if getattr(arguments, name) <= 0:
            parser.error(f"--{name}: more than 0")
    course = Course(
        arguments.model, arguments.out, arguments.qlora, arguments.rank, arguments.rate, arguments.epochs, arguments.steps,
        arguments.batch, arguments.accumulate, arguments.seed,
    )  # fmt: skip
    try:
        examples = load(arguments.examples)
    except (WrongExample, OSError) as error:
        print(f"finetune: {error}", file=sys.stderr)
        sys.exit(2)
    held = "4 bits (NF4)" if course.qlora else "16 bits on a GPU, 32 on a CPU"
    print(
        f"{len(examples)} examples about {len({one.picture for one in examples})} pictures; {course.planned(len(examples))} steps of "
        f"{course.batch * course.accumulate} examples; rank {course.rank} on the language layers of {course.model}, held in {held}"
    )
    if not arguments.dry_run:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        teach(course, examples)
        print(f"written: {course.out}; serve it with: sightline up --model {course.model} --lora inspection={course.out}")


if __name__ == "__main__":
    main()
