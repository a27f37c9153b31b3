"""`sightline cache` tells what a Redis holds, and makes gateways forget answers: by picture, by tenant, by model, or all."""

import subprocess

import pytest
from tests.caching import all_is_kept, cache
from tests.fakes.redis_server import RedisServer
from tests.serving import COMMAND, GatewayProcess, environment
from tests.shapes import ask, data_uri, picture


def sightline_cache(*words: str) -> tuple[int, str, str]:
    ended = subprocess.run([*COMMAND, "cache", *words], env=environment(), capture_output=True, text=True, timeout=20, check=False)
    return ended.returncode, ended.stdout.strip(), ended.stderr.strip()


@pytest.mark.parametrize(
    ("words", "forgotten"),
    [
        (("--tenant", "anonymous"), True),
        (("--tenant", "acme"), False),
        (("--model", "fake-vl"), True),
        (("--model", "another"), False),
        (("--image", "IT", "--tenant", "anonymous"), True),
        (("--image", "IT", "--tenant", "acme"), False),
        (("--image", "0" * 64, "--tenant", "anonymous"), False),
        (("--all",), True),
    ],
)
def test_what_is_purged_is_asked_again(cached: GatewayProcess, redis: RedisServer, words: tuple[str, ...], forgotten: bool) -> None:
    body = ask(f"to be purged with {words}", pictures=(data_uri(picture()),))
    image_hash = cached.chat(body).headers["x-image-hash"]
    assert cache(cached.chat(body)) == "HIT"
    all_is_kept(cached)

    status, out, err = sightline_cache("purge", "--store", redis.url, *(image_hash if word == "IT" else word for word in words))

    assert (status, err) == (0, "")
    assert out.endswith("answers forgotten")
    assert (out != "0 answers forgotten") is forgotten
    assert cache(cached.chat(body)) == ("MISS" if forgotten else "HIT")


def test_stats_tell_what_is_held(cached: GatewayProcess, redis: RedisServer) -> None:
    cached.chat(ask("to be counted"))

    status, out, _ = sightline_cache("stats", "--store", redis.url)

    assert status == 0
    assert int(dict(line.split(maxsplit=1) for line in out.splitlines())["keys"].replace(",", "")) >= 1


WRONG = {
    "nothing named": (("purge",), "--image"),
    "a picture of nobody": (("purge", "--image", "0" * 64), "--tenant"),
    "a store of one process": (("stats",), "memory://"),
    "a store that is not there": (("stats", "--store", "redis://127.0.0.1:1"), "ConnectionRefusedError"),
}


@pytest.mark.parametrize(("words", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_done_is_one_line(words: tuple[str, ...], told: str) -> None:
    status, out, err = sightline_cache(*words)

    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert told in err
