"""How many answers a second an engine gives, estimated from the shapes of model and GPU, for lack of a measurement.

Reading the prompt is bound by arithmetic, writing the answer by memory: each step reads the weights once for all answers under way, and
each answer's cache. Neither runs at its peak. This is an estimate from above: it knows nothing of scheduling, of the processor that decodes
pictures, or of questions that arrive at odd times. Measure your own engine and say so (`--engine-requests-per-second`).
"""

from dataclasses import dataclass

from sightline.capacity.models import Fit

# Share of the peak. Reading the prompt: an assumption. Writing: one stream of Qwen2.5-VL-7B in BF16 takes 128 tokens in 1.7 s on an A100,
# 1.2 s on an H100, 3.2 s on an A6000 (RedHatAI's card of Qwen2.5-VL-7B-Instruct-FP8-Dynamic, vLLM 0.7.2), which is 0.56, 0.48 and 0.79 of
# the bandwidth.
COMPUTE = 0.4
BANDWIDTH = 0.5
TOGETHER = 0.8  # of what several GPUs could do, after what they tell each other: an assumption
MOST = 256  # answers at once: vLLM's `--max-num-seqs` where nothing is said


@dataclass(frozen=True, slots=True)
class Question:
    """Tokens: of the text, of the picture, of the answer; `patches` of the tower for each picture token (two by two are merged)."""

    text: int
    picture: int
    answer: int
    patches: int = 4

    @property
    def prompt(self) -> int:
        return self.text + self.picture


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one engine: `at_once` answers under way, each `seconds` long."""

    at_once: int
    seconds: float

    @property
    def a_second(self) -> float:
        return self.at_once / self.seconds


def prefill(fit: Fit, question: Question) -> float:
    """Seconds in which one prompt is read, picture included: 2 operations a weight and token."""
    model, form = fit.checkpoint.model, fit.checkpoint.form.name
    eight = form == "INT8" or (form == "FP8" and fit.gpu.fp8)
    language = 2 * model.active * question.prompt / (fit.gpu.flops8 if eight else fit.gpu.flops)
    vision = 2 * model.vision * question.picture * question.patches / fit.gpu.flops
    return (language + vision) / (COMPUTE * _gpus(fit))


def step(fit: Fit, question: Question, at_once: int) -> float:
    """Seconds in which each of the answers under way gets one token."""
    model, bits = fit.checkpoint.model, fit.checkpoint.form.bits
    touched = 1 - (1 - model.used) ** at_once  # of the experts, by any of the answers
    weights = (model.linear - model.experts * (1 - touched)) * bits / 8 + model.output * 2
    cache = at_once * (question.prompt + question.answer / 2) * model.cache_bytes
    return (weights + cache) / (fit.gpu.bandwidth * BANDWIDTH * _gpus(fit))


def pace(fit: Fit, question: Question, at_once: int) -> Pace:
    """While answers keep coming, each waits for the prompts of all others that are read meanwhile."""
    return Pace(at_once, at_once * prefill(fit, question) + question.answer * step(fit, question, at_once))


def fastest(fit: Fit, question: Question, within: float) -> Pace | None:
    """With as many answers at once as the cache holds and as take at most `within` seconds each; None when one alone takes longer."""
    room = min(MOST, fit.tokens // (question.prompt + question.answer))
    paces = (pace(fit, question, count) for count in range(room, 0, -1))
    return next((found for found in paces if found.seconds <= within), None)


def _gpus(fit: Fit) -> float:
    return 1.0 if fit.gpus == 1 else fit.gpus * TOGETHER
