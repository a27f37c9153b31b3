"""Teaches a checkpoint to read plates, in one of three stages, and can be stopped and continued at any time.

    python train.py vision   --start untrained --state vision.pt   --minutes 4   --out seeing
    python train.py language --start seeing    --state language.pt --minutes 4   --out speaking
    python train.py joint    --start speaking  --state joint.pt    --minutes 25  --out model

`vision` teaches the vision tower alone what each visual token shows; `language` teaches the language model with the tower as it
is; `joint` teaches both, with both lessons. The state is written every minute: the same command continues from it, and
`--minutes` counts all its runs together.
"""

import argparse
import math
import shutil
import time
from pathlib import Path
from random import Random

import torch
from lessons import SIGHTS, Lesson, Tutor
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from transformers import AutoTokenizer, Glm4vForConditionalGeneration

BATCH = 32
WARM_UP = 100  # steps
FLOOR = 0.01  # share of the learning rate that is left at the end
CLIP = 1.0
SEEING = 0.2  # weight of each kind of sight beside the talk


class Pupil(nn.Module):  # type: ignore[misc]  # torch is Any where it is not installed
    """The model with small heads on its vision tower, which are thrown away when it has learnt to see."""

    def __init__(self, model: Glm4vForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        width = model.config.vision_config.out_hidden_size
        self.heads = nn.ModuleDict({kind: nn.Linear(width, classes) for kind, classes in SIGHTS.items()})
        self._seen: list[Tensor] = []
        # A convolution whose stride is its kernel is a product of matrices. As a convolution it took a seventh of a step on a CPU.
        embed = model.model.visual.patch_embed
        embed.forward = lambda patches: linear(patches, embed.proj.weight.flatten(1), embed.proj.bias)
        model.model.visual.register_forward_hook(lambda _tower, _inputs, output: self._seen.append(output.pooler_output))

    def losses(self, lesson: Lesson, stage: str) -> dict[str, Tensor]:
        """The losses of the lesson by what they teach: one for each kind of sight, and one for the talk."""
        self._seen.clear()
        losses: dict[str, Tensor] = {}
        if stage == "vision":
            self.model.model.visual(lesson.inputs["pixel_values"], grid_thw=lesson.inputs["image_grid_thw"])
        else:
            losses["talk"] = _talk_loss(self.model(**lesson.inputs).logits.float(), lesson)
        if stage != "language":
            seen = torch.cat(self._seen)
            losses |= {kind: _sight_loss(self.heads[kind](seen).float(), classes) for kind, classes in lesson.sights.items()}
        return losses


def _talk_loss(logits: Tensor, lesson: Lesson) -> Tensor:
    counted = lesson.weights[:, 1:] > 0
    weights, spoken = lesson.weights[:, 1:][counted], lesson.inputs["input_ids"][:, 1:][counted]
    return (cross_entropy(logits[:, :-1][counted], spoken, reduction="none") * weights).sum() / weights.sum()


def _sight_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean over tokens that show something plus the mean over those that do not: most tokens show nothing."""
    each = cross_entropy(logits, classes, reduction="none")
    return each[classes > 0].mean() + each[classes == 0].mean()


class Course:
    """One stage of teaching: what has been taught so far, kept in a file."""

    def __init__(self, pupil: Pupil, stage: str, *, rate: float, seconds: float, state: Path) -> None:
        self._pupil, self._stage, self._rate, self._seconds, self._state = pupil, stage, rate, seconds, state
        pupil.model.model.visual.requires_grad_(stage != "language")
        self._taught = [parameter for parameter in pupil.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._taught, lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
        self._step, self._spent = 0, 0.0
        if state.exists():
            kept = torch.load(state, weights_only=True)
            pupil.load_state_dict(kept["pupil"])
            self._optimizer.load_state_dict(kept["optimizer"])
            self._step, self._spent = kept["step"], kept["spent"]

    def run(self, tutor: Tutor) -> None:
        started = saved = time.monotonic()
        before = self._spent
        self._pupil.train()
        while self._spent < self._seconds:
            told = self._teach(tutor.lesson(BATCH))
            now = time.monotonic()
            self._spent = before + now - started
            if self._step % 25 == 0:
                print(
                    f"{self._stage} {self._spent:.0f} s, step {self._step}:",
                    *(f"{kind} {loss:.4f}" for kind, loss in told.items()),
                    flush=True,
                )
            if now - saved > 60:
                self._save()
                saved = now
        self._save()

    def _teach(self, lesson: Lesson) -> dict[str, float]:
        slope = (1 + math.cos(math.pi * min(1.0, self._spent / self._seconds))) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * min(1.0, (self._step + 1) / WARM_UP) * (FLOOR + (1 - FLOOR) * slope)
        with torch.autocast("cpu", torch.bfloat16):
            losses = self._pupil.losses(lesson, self._stage)
        weights = {kind: SEEING if "talk" in losses and kind != "talk" else 1.0 for kind in losses}
        torch.stack([weights[kind] * loss for kind, loss in losses.items()]).sum().backward()
        nn.utils.clip_grad_norm_(self._taught, CLIP)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1
        return {kind: loss.item() for kind, loss in losses.items()}

    def _save(self) -> None:
        kept = {"pupil": self._pupil.state_dict(), "optimizer": self._optimizer.state_dict(), "step": self._step, "spent": self._spent}
        beside = self._state.with_suffix(".new")
        torch.save(kept, beside)
        beside.replace(self._state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("vision", "language", "joint"))
    parser.add_argument("--start", type=Path, required=True, help="checkpoint folder to begin with")
    parser.add_argument("--state", type=Path, required=True, help="file that keeps what was learnt, to continue from")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write at the end")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = Glm4vForConditionalGeneration.from_pretrained(arguments.start, dtype=torch.float32, attn_implementation="sdpa")
    course = Course(Pupil(model), arguments.stage, rate=arguments.rate, seconds=arguments.minutes * 60, state=arguments.state)
    course.run(Tutor(AutoTokenizer.from_pretrained(arguments.start), Random(time.time_ns())))
    shutil.copytree(arguments.start, arguments.out, dirs_exist_ok=True)
    model.eval().save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
