"""`sightline check-config` reads everything as `serve` would and tells what is set: never a secret; status 2 when something is wrong."""

import subprocess
from pathlib import Path

from tests.serving import COMMAND, environment


def check(*words: str, **settings: object) -> tuple[int, str, str]:
    ended = subprocess.run(
        [*COMMAND, "check-config", *words], env=environment(**settings), capture_output=True, text=True, timeout=20, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_what_is_not_at_its_default_is_told_whatever_said_so(tmp_path: Path) -> None:
    file = tmp_path / "sightline.yaml"
    file.write_text("engines: [http://gpu1:8000, http://gpu2:8000]\ncache: {ttl: 600}\n", encoding="utf-8")

    status, out, err = check("--config", str(file), limits__queue=3)

    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "engines: http://gpu1:8000, http://gpu2:8000",
        "cache.ttl: 600",
        "limits.queue: 3",
        "The settings are right.",
    ]


def test_secrets_stay_secret() -> None:
    status, out, _ = check(store="redis://user:canary-1@cache:6379/0", engine_key="canary-2")

    assert status == 0
    assert "canary" not in out
    assert "store: redis://cache:6379/0" in out


def test_what_serve_would_refuse_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("keys: [{tenant: acme}]\n", encoding="utf-8")

    status, out, err = check(keys_file=file)

    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert str(file) in err
