# ruff: noqa: INP001 - not a part of this package: it is copied into the engine's environment
"""Lets torchvision's ordinary wheel, which links CUDA, be imported beside a torch that has none.

Its compiled part cannot load there, so `torchvision::nms` is never declared and `import torchvision` fails with "operator
torchvision::nms does not exist". Declaring the two operators beforehand is enough: the transforms that vLLM uses are plain torch.
A torchvision built for the CPU (version `…+cpu`) declares them itself and is left alone. Loaded by a `.pth` file at every start of
the environment's Python, so it costs nothing until torchvision is asked for.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
from collections.abc import Sequence
from types import ModuleType

_kept: list[object] = []  # a torch.library.Library takes its operators along when it is collected


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if name == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None  # found by the ordinary finders


def _declare() -> None:
    torch = importlib.import_module("torch")
    if torch.version.cuda is not None or "+cpu" in importlib.metadata.version("torchvision"):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)


sys.meta_path.insert(0, _BeforeTorchvision())
