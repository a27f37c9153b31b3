"""What Sightline itself costs, as last measured: `figures.json`, which `loadtests/figures.py` writes from the results of the load runs.

Each figure says where it comes from. A faster machine or a newer measurement changes that file and nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """`points` are values by kilobytes of picture (0: no picture); a figure that depends on nothing has one point, at 0."""

    points: tuple[tuple[float, float], ...]
    unit: str
    source: str

    @property
    def value(self) -> float:
        return self.points[0][1]

    def at(self, kilobytes: float) -> float:
        """Between two points in proportion; beyond the last as between the last two."""
        if len(self.points) == 1:
            return self.value
        pairs = list(zip(self.points, self.points[1:], strict=False))
        (left, low), (right, high) = next((pair for pair in pairs if kilobytes <= pair[1][0]), pairs[-1])
        return low + (high - low) * (kilobytes - left) / (right - left)


@cache
def figures() -> Mapping[str, Figure]:
    return {name: _figure(given) for name, given in json.loads(files(__package__).joinpath("figures.json").read_text("utf-8")).items()}


def _figure(given: Mapping[str, Any]) -> Figure:
    points = tuple((float(kilobytes), float(value)) for kilobytes, value in given["points"])
    return Figure(points, given["unit"], given["source"])
