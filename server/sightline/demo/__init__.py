"""What a first try needs, without a GPU or a download of weights: a tiny vision-language model for real vLLM, and plates it can read.

README.md beside this file is the model's card. Both functions give plain paths, since vLLM and a browser's upload want files;
an installed wheel lies unpacked on disk, so the package's own folder is that path.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Label:
    """What is drawn on a plate: six characters, one of eight colours, one of four shapes, and whether a scratch runs over it."""

    serial: str
    color: str
    shape: str
    scratch: bool


def model_path() -> Path:
    """The folder of the checkpoint, as `vllm serve` takes it."""
    return _folder() / "model"


def plates() -> dict[Path, Label]:
    """The sample plates (PNG, 224 × 112) and what is drawn on each, in the order of their names."""
    folder = _folder() / "plates"
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return {folder / name: Label(**label) for name, label in sorted(labels.items())}


def _folder() -> Path:
    return Path(str(files(__name__)))
