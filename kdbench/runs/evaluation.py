"""Measures given weights on a dataset's test split, without training anything."""

from __future__ import annotations

import logging
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.dataset_cards import Dataset
from kdbench.plugins import registry
from kdbench.results.record import Record
from kdbench.runs.cells import loading_processes, score
from kdbench.runs.launch import start
from kdbench.runs.plan import data_of, resolved_model, sha256
from kdbench.runs.provenance import record_of
from kdbench.runs.request import own_model
from kdbench.runs.settings import RunSettings
from kdbench.specs import EvaluationSpec, Schedule

if TYPE_CHECKING:
    from kdbench.openmmlab.students import Subject

log = logging.getLogger("kdbench")


def evaluate(
    model: str,
    dataset: str,
    checkpoint: str,
    settings: RunSettings,
    *,
    device: str,
    data_root: Path | None = None,
    download: bool = False,
    rehash: bool = False,
) -> Record:
    """Measure a checkpoint and store the record; one that exists is returned, unless rerun is set.

    Args:
        model: Name of a plugin's model, or a config.
        dataset: Name of the dataset.
        checkpoint: The weights, as :func:`kdbench.openmmlab.weights.zoo.checkpoint_file` takes them.
        settings: Runtime settings.
        device: Type of the device.
        data_root: Folder of the datasets.
        download: Fetch a checkpoint that is not on this machine.
        rehash: Read every file of the dataset, whatever the index of hashes has of it.

    Raises:
        UserError: If anything is unknown or missing, or the checkpoint lacks weights of the model.
    """
    from kdbench.openmmlab.weights.zoo import checkpoint_file

    card = registry().dataset(dataset).value
    file = checkpoint_file(checkpoint, download=download)
    folder, data = data_of(card, data_root, rehash=rehash)
    spec = spec_of(model, card, data, file, device)
    done = None if settings.rerun else settings.store.find(spec.identity())
    if done is not None:
        log.info("%s: measured already, %s", spec.selector, score(done))
        return done
    start(device, card)
    with redirect_stdout(sys.stderr):
        record = _measured(spec, card, folder, file, settings, _command(model, dataset, checkpoint))
    settings.store.write(record)
    return record


def spec_of(model: str, dataset: Dataset, data: str, checkpoint: Path, device: str) -> EvaluationSpec:
    """Return what is measured: at the image size that the config's own ``test_pipeline`` has."""
    from kdbench.openmmlab.models.configs import evaluation_size

    named = own_model(model)
    scale, keep_ratio = evaluation_size(named.config)
    return EvaluationSpec(
        selector=f"{Path(model).stem} {checkpoint.stem}",
        dataset=dataset.name,
        data=data,
        model=resolved_model(named, pretrained=False),
        checkpoint=sha256(checkpoint),
        scale=scale,
        keep_ratio=keep_ratio,
        device=device,
    )


def _measured(
    spec: EvaluationSpec,
    dataset: Dataset,
    folder: Path,
    checkpoint: Path,
    settings: RunSettings,
    command: str,
) -> Record:
    from kdbench.openmmlab import students
    from kdbench.openmmlab.training.runner import Place

    subject, work_dir = _subject(spec, dataset), settings.folder(spec)
    workers = loading_processes(settings.workers, spec.device)
    place = Place(folder, work_dir, spec.device, workers=workers)
    metrics, cost = students.measure(subject, checkpoint, place)
    curve = [{"iteration": 0, **metrics}]
    return record_of(spec, dataset.metric, work_dir, curve=curve, cost=cost, command=command)


def _subject(spec: EvaluationSpec, dataset: Dataset) -> Subject:
    """Return the model to measure. Nothing is trained: of its schedule, only the image size counts."""
    from kdbench.openmmlab.students import Subject

    schedule = Schedule(iterations=1, batch_size=1, lr=1.0, scale=spec.scale, keep_ratio=spec.keep_ratio)
    return Subject(spec.identity(), spec.model, schedule, dataset, seed=0, pretrained=False)


def _command(model: str, dataset: str, checkpoint: str) -> str:
    named = ["--dataset", dataset, "--model", model, "--checkpoint", checkpoint]
    return shlex.join(["kdbench", "evaluate", *named])
