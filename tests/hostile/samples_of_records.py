"""A record as a run leaves it."""

from __future__ import annotations

from typing import Any

from kdbench.plugins import registry
from kdbench.specs import RunSpec, digest, unlabelled

MADE = {"clock": "2026-05-01T12:00:00+00:00", "path": "out/runs/x", "command": "kdbench run --method none"}


def student() -> dict[str, Any]:
    """The values of a plain student's record, which `records add` takes."""
    pair = registry().pair("digits-gfl").value
    spec = RunSpec(
        dataset="digits",
        data="d" * 64,
        seed=0,
        schedule="default",
        precision="fp32",
        device="cpu",
        processes=1,
        method="none",
        selector="none",
        options={},
        revision=registry().method("none").value.revision,
        pair=pair,
        teacher=None,
    ).model_dump(mode="json")
    curve = [{"iteration": pair.schedule.iterations, "AP50": 0.5}]
    plugin = registry().method("none").plugin
    return with_identity(
        {
            "kind": "cell",
            "spec": spec,
            "status": "done",
            "metrics": {"last": {"AP50": 0.5}, "best": dict(curve[0])},
            "metric": "AP50",
            "curve": curve,
            "versions": {"python": "3.11.7", "torch": "torch 2.11.0", "kdbench": "kdbench 0.1.0"},
            "device": "cpu",
            "host_class": "Linux x86_64, 2 cores, 1 threads",
            "plugin": f"{plugin.distribution} {plugin.version}",
            "made": MADE,
        }
    )


def with_identity(values: dict[str, Any]) -> dict[str, Any]:
    """The same with the identity of its spec."""
    return values | {"identity": digest(unlabelled(values["spec"]))}
