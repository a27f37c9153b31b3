"""What a gateway's metrics say, and what has changed between two readings of them: rates and percentiles, as Prometheus would make them.

Pure: text and times come in, numbers go out. A counter that has fallen was started anew, and counts from nought.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]
Wanted = str | Callable[[str], bool]  # a label's value, or what it must satisfy


class NotMetrics(ValueError):
    """A text that is no exposition of a Sightline gateway."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One scrape: `samples` by name (without `sightline_`) and labels, `at` seconds of a clock that never goes back."""

    at: float
    samples: Mapping[str, Mapping[tuple[tuple[str, str], ...], float]]

    @classmethod
    def parse(cls, text: str, at: float) -> "Reading":
        samples: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    name, ours, rest = sample.name.partition("sightline_")
                    if ours and not name:
                        samples.setdefault(rest, {})[tuple(sorted(sample.labels.items()))] = sample.value
                    elif sample.name.startswith("process_"):
                        samples.setdefault(sample.name, {})[()] = sample.value
        except (ValueError, KeyError, IndexError):
            raise NotMetrics("what it serves is no Prometheus text") from None
        if "requests_total" not in samples and "in_flight_requests" not in samples:
            raise NotMetrics("what it serves are not the metrics of a Sightline gateway")
        return cls(at, samples)

    def each(self, name: str, **wanted: Wanted) -> Iterator[tuple[Labels, float]]:
        """Its series whose labels are as wanted."""
        for labels, value in self.samples.get(name, {}).items():
            found = dict(labels)
            if all(_fits(found.get(label, ""), want) for label, want in wanted.items()):
                yield found, value

    def value(self, name: str, **wanted: Wanted) -> float | None:
        """Their sum; None where there is none."""
        found = [value for _, value in self.each(name, **wanted)]
        return sum(found) if found else None

    def restarted_since(self, before: "Reading") -> bool:
        """Whether a counter has fallen: another process answers there now."""
        return any(
            value < before.samples[name].get(labels, 0.0)
            for name, series in self.samples.items()
            if name.endswith(("_total", "_count")) and name in before.samples
            for labels, value in series.items()
        )


@dataclass(frozen=True, slots=True)
class Change:
    """From one reading to a later one."""

    before: Reading
    after: Reading

    @property
    def seconds(self) -> float:
        return max(self.after.at - self.before.at, 1e-9)

    def grown(self, name: str, **wanted: Wanted) -> float:
        return sum(self.grown_by(name, None, **wanted).values())

    def rate(self, name: str, **wanted: Wanted) -> float:
        """A second."""
        return self.grown(name, **wanted) / self.seconds

    def rates_by(self, name: str, label: str, **wanted: Wanted) -> dict[str, float]:
        """A second, by the values of `label`."""
        return {value: grown / self.seconds for value, grown in self.grown_by(name, label, **wanted).items()}

    def grown_by(self, name: str, label: str | None, **wanted: Wanted) -> dict[str, float]:
        found: dict[str, float] = {}
        before = self.before.samples.get(name, {})
        for labels, value in self.after.each(name, **wanted):
            old = before.get(tuple(sorted(labels.items())), 0.0)
            key = labels.get(label, "") if label else ""
            found[key] = found.get(key, 0.0) + (value - old if value >= old else value)
        return found

    def quantile(self, q: float, name: str, **wanted: Wanted) -> float | None:
        """Of a histogram's observations in between: interpolated within a bucket, the last finite bound beyond all buckets."""
        buckets = sorted((float(bound), count) for bound, count in self.grown_by(f"{name}_bucket", "le", **wanted).items())
        if not buckets or buckets[-1][1] <= 0:
            return None
        rank = q * buckets[-1][1]
        low, below = 0.0, 0.0
        for bound, count in buckets:
            if count >= rank:
                return low if math.isinf(bound) else low + (bound - low) * (rank - below) / max(count - below, 1e-9)
            low, below = bound, count
        return low

    def mean(self, name: str, **wanted: Wanted) -> float | None:
        count = self.grown(f"{name}_count", **wanted)
        return self.grown(f"{name}_sum", **wanted) / count if count else None


def _fits(value: str, wanted: Wanted) -> bool:
    return wanted(value) if callable(wanted) else value == wanted
