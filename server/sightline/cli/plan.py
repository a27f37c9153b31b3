"""`sightline plan`: how many gateways, how much Redis, how many GPUs? Reckons only; asks nobody and starts nothing."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Annotated

import typer

from sightline.capacity.plan import BadDemand, Demand, Plan
from sightline.capacity.plan import plan as reckon

WIDTHS = (24, 18)  # columns of the name, and of the value with its unit
NARROWEST, WIDEST = 80, 120  # columns of the page
_D = Demand(pictures_per_day=1)  # for its defaults

Day = Annotated[float | None, typer.Option("--pictures-per-day", help="Requests with a picture, a day.", show_default=False)]
Peak = Annotated[float | None, typer.Option("--peak-requests-per-second", help="Instead, or beside: requests a second at the peak.")]
Factor = Annotated[float, typer.Option("--peak-factor", help="How many times the day's average the peak is.")]
Hits = Annotated[float, typer.Option("--hit-rate", help="Share of requests answered from the cache: same picture, same question.")]
Unseen = Annotated[float | None, typer.Option("--unseen-rate", help="Share with a picture never seen. Default: all that are no hits.")]
Kilobytes = Annotated[float, typer.Option("--picture-kilobytes", help="Size of a picture as sent.")]
Tokens = Annotated[int, typer.Option("--answer-tokens", help="Length of an answer.")]
Streamed = Annotated[float, typer.Option("--streamed", help="Share of answers that are streamed.")]
Ttl = Annotated[float, typer.Option("--ttl", help="Seconds an answer is kept (`cache.ttl`).")]
Model = Annotated[str, typer.Option("--model", help="A checkpoint of the table in deploy/engine/README.md.")]
Gpu = Annotated[str, typer.Option("--gpu", help="L4, RTX-4090, L40S, RTX-A6000, A100-80GB, H100 or H200.")]
Seconds = Annotated[float, typer.Option("--seconds-per-answer", help="Seconds a whole answer may take at the engine.")]
Rate = Annotated[
    float | None,
    typer.Option("--engine-requests-per-second", help="Answers a second of one engine, as you measured it. Default: estimated."),
]
Busy = Annotated[float, typer.Option("--utilisation", help="Share of what the engines can do that is planned with.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, with the origin of each measured figure.")]


def plan(
    *,
    pictures_per_day: Day = None,
    peak_requests_per_second: Peak = None,
    peak_factor: Factor = _D.peak_factor,
    hit_rate: Hits = _D.hit_rate,
    unseen_rate: Unseen = None,
    picture_kilobytes: Kilobytes = _D.picture_kilobytes,
    answer_tokens: Tokens = _D.answer_tokens,
    streamed: Streamed = _D.streamed,
    ttl: Ttl = _D.ttl,
    model: Model = _D.model,
    gpu: Gpu = _D.gpu,
    seconds_per_answer: Seconds = _D.seconds_per_answer,
    engine_requests_per_second: Rate = None,
    utilisation: Busy = _D.utilisation,
    as_json: Json = False,
) -> None:
    """How many gateways, how much Redis, how many GPUs? From measured figures; see deploy/capacity.md."""
    try:
        found = reckon(
            Demand(
                pictures_per_day, peak_requests_per_second, peak_factor, hit_rate, unseen_rate, picture_kilobytes, answer_tokens,
                streamed, ttl, model, gpu, seconds_per_answer, engine_requests_per_second, utilisation,
            )
        )  # fmt: skip
    except BadDemand as error:
        typer.echo(f"sightline plan: {error}", err=True)
        sys.exit(2)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
        return
    for line in page(found, max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))):
        typer.echo(line)


def page(found: Plan, width: int = WIDEST) -> Iterator[str]:
    """The plan as text: name, value, and how it comes about, wrapped."""
    asked = found.demand
    yield (
        f"{asked.a_day:,.0f} pictures a day, {asked.peak:.4g} requests/s at the peak; {asked.hit_rate:.0%} hits, {asked.unseen:.0%} unseen "
        f"pictures of {asked.picture_kilobytes:g} kB, {asked.answer_tokens} tokens an answer"
    )
    yield ""
    name, value = WIDTHS
    for line in found.lines:
        told = f"{line.name:<{name}}{_short(line.value):>8} {line.unit:<{value - 9}} "
        how = textwrap.wrap(line.how, width - name - value)
        yield (told + how[0]).rstrip()
        yield from (" " * (name + value) + more for more in how[1:])


def _short(value: float) -> str:
    if value and value < 0.01:
        return "< 0.01"
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
