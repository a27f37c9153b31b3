"""deploy/README.md and deploy/k8s/README.md name what there is and leave out nothing; what they tell one to type can be typed."""

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.deploy.files import ROOT
from tests.deploy.manifests import ENGINES, K8S, KUBECTL, OVERLAYS, combined, of_kind, rendered, secrets
from tests.deploy.names import unknown_commands, unknown_environment, unknown_metrics, unknown_routes

PAGES = [ROOT / "deploy/README.md", K8S / "README.md"]
PAGE = K8S / "README.md"
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())


def table() -> str:
    """What overlays/prod makes, for the page."""
    objects = rendered("prod")
    budgets, rows = {found["metadata"]["name"] for found in of_kind(objects, "PodDisruptionBudget")}, []
    scaled = {found["spec"]["scaleTargetRef"]["name"]: found["spec"] for found in of_kind(objects, "HorizontalPodAutoscaler")}
    for found in of_kind(objects, "Deployment"):
        name, spec = found["metadata"]["name"], found["spec"]
        count = f"{scaled[name]['minReplicas']} to {scaled[name]['maxReplicas']}" if name in scaled else str(spec["replicas"])
        (container,) = spec["template"]["spec"]["containers"]
        wanted, most = container["resources"]["requests"], container["resources"]["limits"]
        gpus = f", {wanted['nvidia.com/gpu']} GPU" if "nvidia.com/gpu" in wanted else ""
        guard = "1 away at most" if name in budgets else "–"
        rows.append(f"| `{name}` | {count} | {wanted['cpu']} CPU, {wanted['memory']}{gpus} | {most['memory']} | {guard} |")
    others: dict[str, list[str]] = {}
    for found in objects:
        if found["kind"] not in {"Deployment", "Namespace"}:
            others.setdefault(found["kind"], []).append(re.sub(r"-\w{10}$", "-…", found["metadata"]["name"]))
    beside = "\n".join(f"| {kind} | {', '.join(f'`{name}`' for name in sorted(names))} |" for kind, names in sorted(others.items()))
    head = "| Deployment | pods | asks for, each | memory at most | a drained node |\n| --- | --- | --- | --- | --- |\n"
    return f"{head}{chr(10).join(rows)}\n\n| beside them | |\n| --- | --- |\n{beside}"


def between(text: str) -> str:
    return text.partition("<!-- prod -->\n")[2].partition("\n<!-- /prod -->")[0]


def test_what_prod_makes_stands_in_the_page() -> None:
    """After a change: `python -m tests.deploy.test_k8s_readme` writes it anew."""
    assert between(PAGE.read_text(encoding="utf-8")) == table()


@pytest.mark.parametrize(("heading", "names"), [("Overlays", OVERLAYS), ("Components", COMPONENTS), ("Engines", ENGINES)])
def test_everything_that_there_is_has_a_row(heading: str, names: list[str]) -> None:
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]

    assert sorted(re.findall(r"^\| `([\w.-]+)` \|", section, re.MULTILINE)) == sorted(names)


def test_every_secret_has_a_row() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Secrets\n")[2].partition("\n## ")[0]
    for name, keys in secrets().items():
        assert f"| `{name}` |" in section
        assert all(f"| `{key}` |" in section for key in keys)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.parent.name))
def test_what_it_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = "\n".join([*re.findall("`[^`\n]+`", text), *blocks(page)])

    assert unknown_environment(text) == unknown_routes(text) == unknown_metrics(text) == unknown_commands(commands) == []
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([\w-]+))?\)", text):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, anchor


def blocks(page: Path, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.parent.name))
def test_files_in_commands_are_there(page: Path) -> None:
    named = [word for block in blocks(page) for word in re.findall(r"(?<![\w/.])deploy/[\w./-]+", block)]

    assert len(named) > 5
    for path in named:
        assert (ROOT / path).exists(), path
        assert not path.endswith(".sh") or os.access(ROOT / path, os.X_OK), path
    for program in re.findall(r"^\.venv/(\S+)", "\n".join(blocks(page)), re.MULTILINE):
        assert (Path(sys.executable).parents[1] / program).exists(), program


def kubectl_commands() -> Iterator[tuple[str, list[str]]]:
    """Each `kubectl VERB … --flag` of both pages."""
    for page in PAGES:
        for line in re.findall(r"\bkubectl ([a-z-]+[^|`\n#]*)", "\n".join([*blocks(page), *re.findall("`[^`\n]+`", page.read_text())])):
            words = line.split()
            depth = 2 if words[0] in {"rollout", "create"} and len(words) > 1 and not words[1].startswith("-") else 1
            depth = 3 if words[:2] == ["create", "secret"] else depth
            yield " ".join(words[:depth]), re.findall(r"(?<!\S)--?[a-z][a-z-]*", " ".join(words[depth:]))


@functools.cache
def told_of(verb: str) -> str:
    ended = subprocess.run([KUBECTL, *verb.split(), "--help"], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, verb
    common = subprocess.run([KUBECTL, "options"], capture_output=True, text=True, timeout=30, check=True)
    return ended.stdout + common.stdout


@pytest.mark.parametrize(("verb", "flags"), [*dict.fromkeys((verb, tuple(flags)) for verb, flags in kubectl_commands())])
def test_kubectl_has_such_a_command(verb: str, flags: tuple[str, ...]) -> None:
    for flag in flags:
        assert re.search(rf"(?<![\w-]){re.escape(flag)}\b", told_of(verb)), flag


def test_the_overlay_that_is_shown_can_be_made() -> None:
    (shown,) = blocks(PAGE, "yaml")
    ours = yaml.safe_load(shown)
    inner = {kind: tuple(path.removeprefix("../../") for path in ours[kind]) for kind in ("resources", "components")}
    objects = combined(
        *inner["resources"], components=inner["components"], more={key: ours[key] for key in ("images", "replicas", "configMapGenerator")}
    )

    (settings,) = (found for found in of_kind(objects, "ConfigMap") if found["metadata"]["name"].startswith("sightline-settings"))
    assert settings["data"]["SIGHTLINE_CACHE__TTL"] == "600"
    (engine,) = (found for found in of_kind(objects, "Deployment") if found["metadata"]["name"] == "qwen3-vl-8b-engine")
    assert engine["spec"]["replicas"] == 4


def test_nginx_on_a_bare_machine_takes_what_is_copied_there(tmp_path: Path) -> None:
    """By the page's own commands, below another root."""
    (block,) = (block for block in blocks(PAGES[0]) if "nginx -t" in block)
    etc = tmp_path / "etc/nginx"
    (etc / "conf.d").mkdir(parents=True)
    (etc / "sites-enabled").mkdir()
    (etc / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; include conf.d/*.conf; include sites-enabled/*; }}",
        encoding="utf-8",
    )
    (etc / "sites-enabled/default").write_text("server { listen 80 default_server; }", encoding="utf-8")
    copied, _, told = block.replace("sudo ", "").replace("/etc/nginx", str(etc)).rpartition("nginx -t")
    subprocess.run(["sh", "-ec", copied], cwd=ROOT, check=True, timeout=20)
    listen = etc / "sightline/listen.conf"
    listen.write_text(listen.read_text(encoding="utf-8").replace("/var/log/nginx", str(tmp_path)), encoding="utf-8")
    command = ["nginx", "-t", "-p", str(tmp_path), "-c", str(etc / "nginx.conf")]
    ended = subprocess.run(command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, capture_output=True, text=True, timeout=20, check=False)

    assert told.startswith(" && systemctl reload nginx")
    assert ended.returncode == 0, ended.stderr


def main(page: Path = PAGE) -> None:
    head, _, rest = page.read_text(encoding="utf-8").partition("<!-- prod -->\n")
    page.write_text(f"{head}<!-- prod -->\n{table()}\n<!-- /prod -->{rest.partition('<!-- /prod -->')[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
