"""Rewrite the records of schema_version 1 below results/ in place: new identities, everything measured as it was.

    python benchmarks/migrate_records.py --root data

The datasets must be below ``--root``: each is checked against the old fingerprint before its new one is used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from kdbench.cards import Dataset
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.layout import annotation_suffix, items
from kdbench.execution.plan import Request
from kdbench.execution.sweep_cells import command_of
from kdbench.execution.sweep_means import SweepMeans
from kdbench.openmmlab.resolved import model_hash
from kdbench.registry import registry
from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.specs import Model, digest, unlabelled

WHERE = {"precision": "fp32", "device": "cpu", "processes": 1}
Spec = dict[str, Any]


def old_fingerprint(dataset: Dataset, folder: Path) -> str:
    """The fingerprint of schema_version 1."""
    whole = hashlib.sha256()
    for split in sorted(dataset.splits):
        for item in items(dataset, split, folder):
            if dataset.embedded:
                image = pixels(item.image)
                xml = annotation_suffix(dataset) == ".xml"
                annotation = item.annotation.read_bytes() if xml else pixels(item.annotation)
            else:
                image, annotation = str(item.image.stat().st_size).encode(), item.annotation.read_bytes()
            whole.update(f"{split}/{item.name}/{len(image)}/{len(annotation)}\n".encode())
            whole.update(image)
            whole.update(annotation)
    return whole.hexdigest()


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return f"{image.mode} {image.size}".encode() + image.tobytes()


@cache
def data_of(root: Path, name: str, old: str) -> str:
    """The new fingerprint of a dataset whose old one is that of the records."""
    dataset = registry().dataset(name).value
    folder = root / dataset.folder
    found = old_fingerprint(dataset, folder)
    assert found == old, f"{name} in {folder} is not the data of the records: {found}, not {old}"
    return fingerprint(dataset, folder)


@cache
def hash_of(model: str, pretrained: bool) -> str:
    return model_hash(Model.model_validate_json(model), pretrained=pretrained)


def resolved(model: Spec, pretrained: bool) -> Spec:
    assert model["sha256"] is None, "only configs of the libraries"
    return {**model, "sha256": hash_of(json.dumps(model, sort_keys=True), pretrained)}


def common(root: Path, spec: Spec) -> Spec:
    assert spec["amp"] is False
    kept = {key: value for key, value in spec.items() if key not in ("amp", "plugin")}
    return {**kept, **WHERE, "data": data_of(root, spec["dataset"], spec["data"])}


def teacher_spec(root: Path, spec: Spec, new: dict[str, str]) -> Spec:
    made = {**common(root, spec), "model": resolved(spec["model"], spec["pretrained"])}
    return {**made, "base": new[spec["base"]], "revision": 1} if "base" in spec else made


def cell_spec(root: Path, spec: Spec, new: dict[str, str]) -> Spec:
    pair = spec["pair"]
    models = {role: resolved(pair[role], pair["pretrained"]) for role in ("teacher", "student")}
    taught_by = None if spec["teacher"] is None else new[spec["teacher"]]
    return {**common(root, spec), "pair": {**pair, **models}, "teacher": taught_by, "revision": 1}


def command(spec: Spec) -> str:
    request = Request(spec["selector"], spec["dataset"], spec["pair"]["name"], spec["seed"])
    return command_of(request, SweepMeans(work_dir=Path("out/runs"), results=Path("results")))


def main() -> None:
    """Rewrite all records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    root, store = parser.parse_args().root, Store(Path("results"))
    paths = sorted((store.root / "records").rglob("*.json"))
    old = {path: json.loads(path.read_text()) for path in paths}
    teachers = [r for r in old.values() if r["kind"] == "teacher"]
    new: dict[str, str] = {}
    specs: dict[str, Spec] = {}
    for record in sorted(teachers, key=lambda r: "base" in r["spec"]):
        specs[record["identity"]] = teacher_spec(root, record["spec"], new)
        new[record["identity"]] = digest(unlabelled(specs[record["identity"]]))
    cells = [r for r in old.values() if r["kind"] == "cell"]
    for record in cells:
        specs[record["identity"]] = cell_spec(root, record["spec"], new)
        new[record["identity"]] = digest(unlabelled(specs[record["identity"]]))
    assert len(set(new.values())) == len(old), "no two become one"
    commands = {cell["identity"]: command(cell["spec"]) for cell in cells}
    for cell in sorted(cells, key=lambda r: (r["spec"]["seed"], r["spec"]["selector"])):
        commands.setdefault(str(cell["spec"]["teacher"]), commands[cell["identity"]])
    for path, record in old.items():
        identity, made = record["identity"], record["made"]
        if made["command"].startswith("kdbench worker"):
            made["command"] = commands[identity]
        made["path"] = made["path"].replace(identity[:16], new[identity][:16])
        if record["teacher"] is not None:
            record["teacher"]["identity"] = new[record["teacher"]["identity"]]
        record |= {"schema_version": 2, "plugin": record["spec"].get("plugin", ""), "code": None}
        record |= {"identity": new[identity], "spec": specs[identity]}
        path.unlink()
        store.write(Record.model_validate_json(json.dumps(record)))
    print(f"{len(old)} records")


if __name__ == "__main__":
    main()
