"""What `sightline up` says at its end: the exact next command for each way to run this in production, as far as a checkout is at hand."""

import os
from pathlib import Path

from sightline.engines.install import Kind

CHECKOUT = Path(__file__).parents[3]


def next_steps(kind: Kind, checkout: Path = CHECKOUT, here: Path | None = None) -> str:
    """Commands for a shell in `here`, one a line, each with where to read on; what is installed without a checkout is told to get one."""
    if not (checkout / "deploy").is_dir():
        return "In production: deploy/README.md in a checkout of this version has compose, systemd and Kubernetes files."
    deploy = Path(os.path.relpath(checkout / "deploy", here or Path.cwd()))
    profile = {"gpu": "", "cpu": " cpu-demo"}[kind]
    ways = (
        ("compose", "Docker compose", f"{deploy / 'compose/up.sh'}{profile}"),
        ("systemd", "systemd", f"sudo {deploy / 'systemd/install.sh'}"),
        ("k8s/overlays/prod", "Kubernetes", f"kubectl apply -k {deploy / 'k8s/overlays/prod'}"),
    )
    found = [(name, command) for path, name, command in ways if (checkout / "deploy" / path).exists()]
    return "\n".join([f"In production ({deploy / 'README.md'}):", *(f"  {name:<15} {command}" for name, command in found)])
