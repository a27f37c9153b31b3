"""A custom resource's schema as the tests want it: `git show TAG:PATH | python trim.py > KIND.json`, with what README.md says of each.

Without descriptions, status and defaults; objects refuse fields that they do not name, as the API server does with strict validation; a pod
within (PodTemplateSpec) is cut out, since the tests hold those against Kubernetes' own schema.
"""

import json
import sys
from typing import Any

import yaml


def trimmed(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in schema.items() if name not in {"description", "default", "example", "title"}}
    if "properties" in kept:
        properties = kept["properties"]
        if {"containers", "volumes"} <= properties.keys():
            return {"type": "object"}
        kept["properties"] = {name: trimmed(value) for name, value in properties.items() if name != "status"}
        if not kept.get("x-kubernetes-preserve-unknown-fields"):
            kept.setdefault("additionalProperties", False)
    if isinstance(kept.get("items"), dict):
        kept["items"] = trimmed(kept["items"])
    if isinstance(kept.get("additionalProperties"), dict):
        kept["additionalProperties"] = trimmed(kept["additionalProperties"])
    return {name: value for name, value in kept.items() if not name.startswith("x-")}


def main() -> None:
    definition = yaml.safe_load(sys.stdin)["spec"]
    version = next(version for version in definition["versions"] if version["storage"])
    schema = trimmed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    schema["properties"]["apiVersion"] = {"const": f"{definition['group']}/{version['name']}"}
    schema["properties"]["kind"] = {"const": definition["names"]["kind"]}
    json.dump(schema, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
