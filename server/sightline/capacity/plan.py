"""The plan: how many gateways, how much Redis, how much network, how many GPUs, each line with the arithmetic that leads to it.

All of it is for the peak. A gateway's figures are measured, the engine's are given or estimated (`speed`). What is assumed, and not
measured, stands here by name.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches

from sightline.capacity.figures import Figure, figures
from sightline.capacity.models import CHECKPOINTS, GPUS, Checkpoint, Fit, Gpu, smallest
from sightline.capacity.speed import Question, fastest, prefill, step
from sightline.pictures.tokens import family_of, image_tokens
from sightline.settings import Images, Requests
from sightline.wire.protocol import KNOWN_BYTES

DAY = 86_400
BUSY = 0.6  # share of a gateway's core that is planned with, so that the other pods can take over one that goes
TRUST = 0.5  # share of an estimated engine that is counted on: published measurements lie below the estimate (deploy/capacity.md)
POD = 4  # cores of a pod at most: what nodes have free
SPARE = 1.3  # memory that Redis needs above what it stores: fragmentation, buffers, what has expired and is not yet collected
PAGE = (1024, 768)  # pixels of a prepared photograph
TEXT = 60  # tokens of a question with its chat template
LETTERS = 4  # bytes of a token's text
ENVELOPE = 900  # bytes of an answer besides its text, HTTP head included
CHUNK = 200  # bytes of a streamed chunk (tests/unit/wire/recorded/plain.stream.txt)
QUESTION = 1000  # bytes of a request besides its picture


MOST = 1e12  # of anything
CROWD = 10_000  # places: among so many, one is free while they are not all needed


class BadDemand(Exception):
    """One line that names the flag."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked. One of `pictures_per_day` and `peak_requests_per_second` may be None: it follows from the other by `peak_factor`."""

    pictures_per_day: float | None = None
    peak_requests_per_second: float | None = None
    peak_factor: float = 5.0
    hit_rate: float = 0.4
    unseen_rate: float | None = None
    picture_kilobytes: float = 300.0
    answer_tokens: int = 40
    streamed: float = 0.0
    ttl: float = 3600.0
    model: str = "zai-org/GLM-4.6V-Flash"
    gpu: str = "RTX-4090"
    seconds_per_answer: float = 4.0
    engine_requests_per_second: float | None = None
    utilisation: float = 0.7

    def __post_init__(self) -> None:
        _share("--hit-rate", self.hit_rate)
        _share("--streamed", self.streamed)
        if self.unseen_rate is not None:
            _share("--unseen-rate", self.unseen_rate)
            if self.hit_rate + self.unseen_rate > 1 + 1e-9:
                raise BadDemand("--unseen-rate: hits and unseen pictures are different requests, so their shares are at most 1 together")
        for flag, value in (
            ("--pictures-per-day", self.pictures_per_day), ("--peak-requests-per-second", self.peak_requests_per_second),
            ("--picture-kilobytes", self.picture_kilobytes), ("--answer-tokens", self.answer_tokens), ("--ttl", self.ttl),
            ("--seconds-per-answer", self.seconds_per_answer), ("--engine-requests-per-second", self.engine_requests_per_second),
        ):  # fmt: skip
            if value is not None and not 0 < value <= MOST:
                raise BadDemand(f"{flag}: {value:g} is not a number above 0 and at most {MOST:g}")
        if not 1 <= self.peak_factor <= DAY:
            raise BadDemand(f"--peak-factor: {self.peak_factor:g} is not from 1 (the peak is the average) to {DAY:,}")
        if not 0 < self.utilisation < 1:
            raise BadDemand(
                f"--utilisation: {self.utilisation:g} is not between 0 and 1: engines that are always busy have queues without end"
            )
        if self.pictures_per_day is None and self.peak_requests_per_second is None:
            raise BadDemand("--pictures-per-day: how many? (or --peak-requests-per-second)")

    @property
    def peak(self) -> float:
        """Requests a second at the peak."""
        if self.peak_requests_per_second is not None:
            return self.peak_requests_per_second
        return (self.pictures_per_day or 0) / DAY * self.peak_factor

    @property
    def a_day(self) -> float:
        return self.pictures_per_day if self.pictures_per_day is not None else self.peak / self.peak_factor * DAY

    @property
    def unseen(self) -> float:
        """Share of requests with a picture that was never seen; unless told otherwise, of all that are no hits."""
        return 1 - self.hit_rate if self.unseen_rate is None else self.unseen_rate

    @property
    def known(self) -> float:
        """Share of requests with a new question about a known picture."""
        return max(0.0, 1 - self.hit_rate - self.unseen)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is needed: `how` says the arithmetic or where the figure is from."""

    name: str
    value: float
    unit: str
    how: str


@dataclass(frozen=True, slots=True)
class Plan:
    demand: Demand
    lines: tuple[Line, ...]
    sources: Mapping[str, str]

    def as_json(self) -> dict[str, object]:
        return {
            "demand": asdict(self.demand)
            | {
                "peak_requests_per_second": _round(self.demand.peak),
                "pictures_per_day": round(self.demand.a_day),
                "unseen_rate": _round(self.demand.unseen),
            },
            "plan": {line.name: {"value": _round(line.value), "unit": line.unit, "how": line.how} for line in self.lines},
            "sources": dict(self.sources),
        }


def plan(demand: Demand) -> Plan:
    """Raises BadDemand where model and GPU cannot do what is asked."""
    used = figures()
    pods, gateways = _gateways(demand, used)
    lines = [*gateways, *_redis(demand, used), *_network(demand, used), *_engines(demand, pods)]
    return Plan(demand, tuple(lines), {name: figure.source for name, figure in used.items()})


def _gateways(demand: Demand, used: Mapping[str, Figure]) -> tuple[int, list[Line]]:
    """How many pods, and the lines about them."""
    size, peak = demand.picture_kilobytes, demand.peak
    hit, miss, unseen = (used[f"cpu.{kind}"].at(size) for kind in ("hit", "miss", "unseen"))
    token = demand.streamed * demand.answer_tokens * used["cpu.token"].value
    loop = peak * (demand.hit_rate * hit + (1 - demand.hit_rate) * miss + token) / 1e6
    decoding = peak * demand.unseen * max(0.0, unseen - miss) / 1e6
    cores = (loop + decoding) / BUSY
    pods = max(2, math.ceil(loop / BUSY), math.ceil(cores / POD))
    images, requests = Images(), Requests()
    rest = used["memory.base"].value * 1e6 + images.memo_bytes + KNOWN_BYTES
    pixel = used["memory.pixel"].value
    most = rest + requests.bytes_in_flight + images.pixels_in_flight * pixel
    shares = (
        f"{demand.hit_rate:.0%} hits of {hit / 1e3:.2f} ms, {demand.known:.0%} misses of {miss / 1e3:.2f} ms, "
        f"{demand.unseen:.0%} unseen of {unseen / 1e3:.1f} ms{f', streaming {token / 1e3:.2f} ms' if token else ''}"
    )
    return pods, [
        Line("gateway cores", cores, "cores", f"{peak:.4g} requests/s × ({shares}) ÷ {BUSY:.0%} busy"),
        Line(
            "gateway pods",
            pods,
            "pods",
            f"at least two, one a core of event loop ({loop:.2g} ÷ {BUSY:.0%} busy), {POD} cores each at most",
        ),
        Line("cores a pod", cores / pods, "cores", f"of which {decoding / BUSY / pods:.2g} decode pictures, in threads"),
        Line(
            "memory a pod, at rest",
            rest / 2**20,
            "MiB",
            f"{used['memory.base'].value:g} MB, images.memo_bytes, and {KNOWN_BYTES / 2**20:g} MiB of base64 that came twice",
        ),
        Line("memory a pod, at most", most / 2**20, "MiB", f"and requests.bytes_in_flight, and {pixel:g} bytes × images.pixels_in_flight"),
    ]


def _redis(demand: Demand, used: Mapping[str, Figure]) -> list[Line]:
    each = used["redis.answer"].at(demand.answer_tokens * LETTERS / 1000)
    missed = 1 - demand.hit_rate
    answers = min(demand.peak * missed * demand.ttl, demand.a_day * missed * max(1.0, demand.ttl / DAY))
    pictures = demand.a_day * demand.unseen * Images().remember / DAY
    identity = used["redis.identity"].value
    memory = (answers * each + pictures * identity) * SPARE
    hit, miss, unseen = (used[f"redis.{kind}"].value for kind in ("hit", "miss", "unseen"))
    commands = demand.peak * (demand.hit_rate * hit + demand.known * miss + demand.unseen * unseen)
    stored = f"({answers:,.0f} answers × {each:,.0f} bytes + {pictures:,.0f} pictures × {identity:g} bytes) × {SPARE:g}"
    asked = f"a hit {hit:g}, a miss {miss:g}, an unseen picture {unseen:g}, of which it waits for 1, 2 and 3"
    script = used["redis.script"].value
    return [
        Line("Redis memory", memory / 2**20, "MiB", f"{stored}; as maxmemory"),
        Line("Redis commands", commands, "a second", asked),
        Line(
            "Redis core", commands * script / 1e6, "cores", f"{script:.0f} µs a command; it has one thread: above {BUSY:g}, take a Cluster"
        ),
    ]


def _network(demand: Demand, used: Mapping[str, Figure]) -> list[Line]:
    sent = demand.picture_kilobytes * 1000 * 4 / 3 + QUESTION
    prepared = min(demand.picture_kilobytes, used["picture.prepared"].value) * 1000 * 4 / 3
    engines = demand.unseen * prepared + (1 - demand.hit_rate) * QUESTION
    answer = ENVELOPE + demand.answer_tokens * (LETTERS + demand.streamed * CHUNK)
    return [
        Line("clients to gateways", _megabits(demand, sent), "Mbit/s", f"{sent / 1000:,.0f} kB a request, the picture in base64"),
        Line("gateways to engines", _megabits(demand, engines), "Mbit/s", f"{engines / 1000:,.0f} kB a request: known pictures go by name"),
        Line("gateways to clients", _megabits(demand, answer), "Mbit/s", f"{answer / 1000:,.1f} kB an answer"),
    ]


def _engines(demand: Demand, pods: int) -> list[Line]:
    missed = demand.peak * (1 - demand.hit_rate)
    checkpoint, gpu = find_model(demand.model), find_gpu(demand.gpu)
    place = smallest(checkpoint, gpu)
    if place is None:
        weights = checkpoint.model.weights(checkpoint.form) / 1e9
        raise BadDemand(f"--gpu: {checkpoint.name} ({weights:.0f} GB of weights) does not fit on eight {gpu.name}")
    at_once, rate, why = _rate(demand, place)
    replicas = math.ceil(missed / (rate * demand.utilisation))
    lies = f"{place.gpus} an engine: {place.weights / 1e9:.1f} GB of weights, {place.tokens:,} tokens of cache; {' '.join(place.flags)}"
    lines = [
        Line("answers of one engine", rate, "a second", why),
        Line("engines", replicas, "replicas", f"{missed:.4g} misses/s ÷ ({rate:.3g} × {demand.utilisation:.0%} busy)"),
        Line("GPUs", replicas * place.gpus, gpu.name, lies),
    ]
    if replicas:
        share, seconds = waiting(missed, rate, replicas, at_once)
        places = f"{replicas} × {at_once} places"
        lines += [
            Line("misses that wait", 100 * share, "%", f"for {seconds * 1e3:.0f} ms on average over all (Erlang C, {places})"),
            Line("limits.engine_requests", math.ceil(replicas * at_once / pods), "a pod", f"{places} ÷ {pods} pods; others queue"),
        ]  # fmt: skip
    return lines


def _rate(demand: Demand, place: Fit) -> tuple[int, float, str]:
    """Answers under way at once, answers a second that are counted on, and why."""
    given, within = demand.engine_requests_per_second, demand.seconds_per_answer
    if given is not None:
        return max(1, round(given * within)), given, f"as given, {within:g} s each"
    model = place.checkpoint.model
    question = Question(TEXT, image_tokens(family_of(model.name), *PAGE), demand.answer_tokens)
    pace = fastest(place, question, within)
    reading = prefill(place, question)
    if pace is None:
        alone = reading + question.answer * step(place, question, 1)
        where = f"{place.checkpoint.name} on {place.gpus} × {place.gpu.name}"
        raise BadDemand(f"--seconds-per-answer: {question.answer} tokens by {where} take about {alone:.1f} s even alone")
    writing = question.answer * step(place, question, pace.at_once)
    how = f"{pace.at_once} at once, {question.prompt:,} prompt tokens read in {reading * 1e3:.0f} ms, the answer written in {writing:.2g} s"
    return pace.at_once, pace.a_second * TRUST, f"ESTIMATED, half of {pace.a_second:.3g}: {how}"


def waiting(arrivals: float, rate: float, replicas: int, at_once: int) -> tuple[float, float]:
    """Share of arrivals that find all places taken, and the mean seconds that an arrival waits: Erlang C, for arrivals by chance.

    `rate`: answers a second of one engine with `at_once` places, so an answer holds its place for `at_once / rate` seconds.
    """
    places, held = replicas * at_once, at_once / rate
    if places > CROWD:
        return 0.0, 0.0
    load = arrivals * held  # in places
    blocked = 1.0
    for place in range(1, places + 1):
        blocked = load * blocked / (place + load * blocked)
    share = blocked / (1 - load / places * (1 - blocked))
    return share, share * held / (places - load)


def find_model(name: str) -> Checkpoint:
    table = {checkpoint.name.rpartition("/")[2]: checkpoint for checkpoint in CHECKPOINTS}
    return table[_named("--model", name.rpartition("/")[2], table)]


def find_gpu(name: str) -> Gpu:
    table = {gpu.name: gpu for gpu in GPUS}
    return table[_named("--gpu", name.replace(" ", "-"), table)]


def _named(flag: str, name: str, table: Iterable[str]) -> str:
    """The name in the table that is `name` but for its case."""
    known = {one.lower(): one for one in table}
    if name.lower() in known:
        return known[name.lower()]
    near = [known[one] for one in get_close_matches(name.lower(), known, n=3, cutoff=0.0)]
    raise BadDemand(f"{flag}: {name} is not in the table; the nearest are {', '.join(near)}")


def _share(flag: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise BadDemand(f"{flag}: {value:g} is not a share from 0 to 1")


def _megabits(demand: Demand, size: float) -> float:
    return demand.peak * size * 8 / 1e6


def _round(value: float) -> float:
    return float(f"{value:.4g}") if abs(value) < 1e4 else round(value)
