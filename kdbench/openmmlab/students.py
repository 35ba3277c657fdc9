"""Trains, loads and measures one student or teacher: the :class:`kdbench.runs.trainer.Trainer` of real runs."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.runner import Runner

from kdbench import devices
from kdbench.cards import MethodCard, Options
from kdbench.dataset_cards import Dataset
from kdbench.distill import Compression, Method
from kdbench.distill.randomness import seeded
from kdbench.distill.settings import unchanged
from kdbench.errors import GateError, running
from kdbench.openmmlab.captures.parts import check_auxiliary, select_roi_stage
from kdbench.openmmlab.captures.stages import apply_stage
from kdbench.openmmlab.checks.preflight import (
    Probe,
    check_family,
    check_losses,
    check_same_pixels,
    probe_of,
    probe_shapes,
)
from kdbench.openmmlab.complexity import parameters_and_flops
from kdbench.openmmlab.data.loaders import evaluation_loader, images_of, training_pipeline
from kdbench.openmmlab.data.sampling import SeededImages
from kdbench.openmmlab.evaluation import evaluator_of
from kdbench.openmmlab.models.building import build_model, full_config, parameters_of
from kdbench.openmmlab.models.configs import (
    check_trainable,
    family_of,
    initial_weights,
    own_modules,
    read_config,
    revised_keys,
)
from kdbench.openmmlab.models.features import FeatureTeacher
from kdbench.openmmlab.models.features import notes as feature_notes
from kdbench.openmmlab.setup import LIBRARIES
from kdbench.openmmlab.training.distiller import Distiller, Teacher
from kdbench.openmmlab.training.hooks import Progress, distiller_of
from kdbench.openmmlab.training.run_files import WEIGHTS, drop_checkpoints
from kdbench.openmmlab.training.runner import Place, Trained, train
from kdbench.openmmlab.weights.checkpoints import check_loaded, load_weights, weights_hash
from kdbench.openmmlab.weights.class_layers import model_to_fine_tune, rows_for
from kdbench.openmmlab.weights.class_layers import other_classes as other_classes  # a part of the Trainer
from kdbench.openmmlab.weights.compressing import batches_of, compressed, stored_bits
from kdbench.openmmlab.weights.export import export
from kdbench.openmmlab.weights.inheriting import inherited, told
from kdbench.openmmlab.weights.pretrained import origins, require_pretrained
from kdbench.openmmlab.weights.unfreezing import unfreeze, unfrozen_layers
from kdbench.plugins import make_method, title_of
from kdbench.selectors import canonical
from kdbench.specs import Model, Schedule, TeacherStage
from kdbench.text import LONGEST, line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """A model to train on a dataset under a schedule.

    Attributes:
        name: Unique name of the experiment (its identity).
        model: Config and edits.
        schedule: The recipe.
        dataset: The dataset's card.
        seed: Seed of initialisation, data order and steps.
        pretrained: Whether to start from the weights that the config names.
        download: Whether to download those weights if they are missing.
        stage: The stage that a teacher is fine-tuned with.
        classes: Class of the dataset -> class of the given weights that is mapped to it.
        inherits: The teacher that a student's neck and heads start from, and its weights; None for their own.
    """

    name: str
    model: Model
    schedule: Schedule
    dataset: Dataset
    seed: int
    pretrained: bool
    download: bool = False
    stage: TeacherStage | None = None
    classes: Mapping[str, str] | None = None
    inherits: tuple[Subject, Path] | None = None

    def config(self) -> Any:
        """Return the model's config for the dataset."""
        return full_config(self.model, self.dataset, self.schedule, pretrained=self.pretrained)

    def build(self) -> Any:
        """Return the initialised model, with its stage; without initial weights all of its layers train."""
        config = self.config()
        check_trainable(config)
        if self.pretrained:
            require_pretrained(config, download=self.download)
        model = build_model(config, self.dataset, self.seed)
        if not initial_weights(config):
            unfreeze(model)
        model.load_state_dict(self._inherited(model), strict=False)
        return self._prepared(model)

    def notes(self) -> list[str]:
        """Return lines on the weights that the built model starts from, and on unfrozen layers."""
        config = self.config()
        return origins(config) + unfrozen_layers(config, self.dataset) + self._inheritance()

    def _inheritance(self) -> list[str]:
        if self.inherits is None:
            return []
        student = build_model(self.config(), self.dataset, self.seed)
        return [told(student, self._inherited(student))]

    def _inherited(self, model: Any) -> dict[str, torch.Tensor]:
        """Return the weights that a model starts from in place of its own."""
        if self.inherits is None:
            return {}
        teacher, weights = self.inherits
        return inherited(model, *teacher.loaded(weights))

    def loaded(self, weights: Path) -> tuple[Any, dict[str, str]]:
        """Return the model with weights from a file, and what :func:`load_weights` says is missing in the file."""
        config = full_config(self.model, self.dataset, self.schedule, pretrained=False)
        model = self._prepared(build_model(config, self.dataset, self.seed))
        own = model.network if isinstance(model, FeatureTeacher) else model
        return model, load_weights(own, weights, self.renamed(), self._rows(weights))

    def _rows(self, weights: Path) -> dict[str, list[int]] | None:
        """Return the rows of given weights to take if their classes are mapped to the dataset's."""
        return None if self.classes is None else rows_for(self, self.classes, weights)

    def renamed(self) -> list[tuple[str, str]]:
        """Return how names in foreign checkpoints become the model's, as :func:`load_weights` takes it."""
        return revised_keys(read_config(self.model.config))

    def _prepared(self, model: Any) -> Any:
        select_roi_stage(model, self.model.roi_stage)
        if self.stage is not None:
            apply_stage(model, self.stage)
        return model


@dataclass(frozen=True)
class Outcome:
    """Result of a training.

    Attributes:
        curve: One dict for each evaluation: ``iteration`` and metrics.
        cost: Figures for a record's ``cost``.
        notes: Lines on choices and observations.
        weights: Hash of the trained weights.
    """

    curve: list[dict[str, float]]
    cost: dict[str, int | float | None]
    notes: list[str] = field(default_factory=list)
    weights: str | None = None


class Unaided(Method[Options]):
    """No distillation: trains a teacher or a plain student."""

    def losses(self, step: Any) -> dict[str, torch.Tensor]:
        """Return no terms."""
        return {}


def train_alone(subject: Subject, place: Place, progress: Progress, start: Path | None = None) -> Outcome:
    """Train a plain student or a teacher.

    Args:
        subject: The model.
        place: Folders, device and precision.
        progress: Receives the iterations.
        start: Weights to start from: those of the teacher that a stage fine-tunes, or given ones of other classes.

    Raises:
        UserError: If the weights lack other layers than those that depend on the classes.
    """
    if start is None:
        model, notes = subject.build(), subject.notes()
    else:
        model, notes = model_to_fine_tune(subject, start)
    return _finish(subject, _distiller(subject, model, Unaided(Options())), place, progress, notes)


def train_with(
    subject: Subject,
    teachers: Sequence[Teacher],
    card: MethodCard,
    options: Options,
    place: Place,
    progress: Progress,
    *,
    force: bool = False,
) -> Outcome:
    """Train a student with a method, after the gates.

    Args:
        subject: The student.
        teachers: The trained teacher; several for an ensemble.
        card: The method's card.
        options: Its options.
        place: Folders, device and precision.
        progress: Receives the iterations.
        force: Whether to train although a gate failed; the record says so.

    Raises:
        GateError: If a gate fails.
        UserError: If the method does not work in the student's family.
    """
    student, images = subject.build().to(place.device), training_images(subject, place)
    probe = probe_of(images)
    model, chosen = assembled(subject, student, teachers, card, options, probe, images)
    notes = subject.notes() + chosen
    notes += _gates(model, probe, canonical(card, options), force=force)
    for note in notes:
        log.info("  %s", note)
    return _finish(subject, model, place, progress, notes)


def assembled(
    subject: Subject,
    student: Any,
    teachers: Sequence[Teacher],
    card: MethodCard,
    options: Options,
    probe: Probe,
    images: SeededImages | None = None,
) -> tuple[Distiller, list[str]]:
    """Return a student with the method built for it, and one line for each choice.

    Args:
        subject: The student.
        student: Its model; a compression gives it its weights.
        teachers: The teacher; several for an ensemble.
        card: The method's card.
        options: Its options.
        probe: What shapes are probed on.
        images: What a compression looks at; None: at the probe alone.

    Raises:
        UserError: If the method does not work with these models.
    """
    with seeded(subject.seed, "method"):
        method = make_method(card, options)
    if isinstance(method, Compression):
        batches = [probe] if images is None else batches_of(images, method.images)
        made = compressed(method, student, teachers[0], batches, subject.seed)
        return _distiller(subject, student, method), made
    networks = [teacher.model for teacher in teachers if isinstance(teacher.model, FeatureTeacher)]
    names = check_family(method, family_of(subject.config()), features=bool(networks))
    for teacher in teachers:
        check_auxiliary(names, teacher.missed)
    shapes = probe_shapes(student, teachers[0], probe, names, subject.dataset)
    with seeded(subject.seed, "method"), running(title_of(card), "build()"), unchanged():
        method.build(shapes)
        chosen = [line(str(note), LONGEST) for note in method.notes()]
    chosen += [note for network in networks for note in feature_notes(network, shapes)]
    return _distiller(subject, student, method, teachers, names), chosen


def _gates(model: Distiller, probe: Probe, name: str, *, force: bool) -> list[str]:
    if isinstance(model.method, Compression):
        return []  # it has no terms, and no teacher beside it
    try:
        for teacher in model.teachers:
            check_same_pixels(model.student, teacher.model, probe)
        check_losses(model, probe, name)
    except GateError as failed:
        if not force:
            raise
        return [f"a gate failed and was overruled: {failed.why}"]
    return []


def load_teacher(subject: Subject, weights: Path | None, overrule: Callable[[GateError], None]) -> Teacher:
    """Return a teacher with weights from a file.

    Args:
        subject: The teacher.
        weights: The file; None: the weights are random.
        overrule: Called with the GateError of a teacher with random layers; raises it unless that is forced.
    """
    if weights is None:
        overrule(GateError(f"{subject.model.config} has random weights: give the teacher a checkpoint."))
        return Teacher(subject.build())
    model, missed = subject.loaded(weights)
    name = "teacher" if subject.stage is None else subject.stage.title
    log.info(f"{name}: {'some' if missed else 'all'} of its weights loaded from {weights}")
    try:
        check_loaded(missed, weights)
    except GateError as failed:
        overrule(failed)
    return Teacher(model, missed)


def measure(subject: Subject, weights: Path, place: Place) -> tuple[dict[str, float], dict[str, int]]:
    """Return the metrics of weights from a file on the test split, and the size of their model.

    Raises:
        UserError: If the file is no checkpoint, or lacks weights of the model.
    """
    model, missed = subject.loaded(weights)
    check_loaded(missed, weights)
    parameters, flops = parameters_and_flops(subject.config(), subject.dataset, subject.schedule)
    cost = {"student_parameters": parameters, "student_flops": flops}
    return evaluate(model, subject, place), cost


def evaluate(model: Any, subject: Subject, place: Place, split: str = "test") -> dict[str, float]:
    """Return the metrics of a model on a split."""
    runner = Runner(
        model=_distiller(subject, model, Unaided(Options())),
        work_dir=str(place.work_dir),
        val_dataloader=evaluation_loader(
            subject.dataset, place.folder, subject.schedule, split, place.workers
        ),
        val_cfg={"type": "ValLoop"},
        val_evaluator=evaluator_of(subject.dataset),
        default_scope=LIBRARIES[subject.dataset.task],
        experiment_name=f"{subject.name}-evaluation",
        log_level="ERROR",
    )
    metrics: dict[str, float] = runner.val()
    return metrics


def training_images(subject: Subject, place: Place) -> SeededImages:
    """Return the images of a training, augmented, in its order."""
    pipeline = training_pipeline(subject.dataset, subject.schedule)
    return SeededImages(images_of(subject.dataset, place.folder, "train", pipeline), subject.seed)


def _distiller(
    subject: Subject,
    student: Any,
    method: Method[Any],
    teachers: Sequence[Teacher] = (),
    names: frozenset[str] = frozenset(),
) -> Distiller:
    teacher, others = (teachers[0], teachers[1:]) if teachers else (None, ())
    iterations = subject.schedule.iterations
    return Distiller(
        student, method, teacher, seed=subject.seed, iterations=iterations, names=names, others=others
    )


def _finish(
    subject: Subject, model: Distiller, place: Place, progress: Progress, notes: list[str] | None = None
) -> Outcome:
    """Train, export, measure."""
    trained = train(
        model, subject.dataset, subject.schedule, place, progress, seed=subject.seed, name=subject.name
    )
    student, config = _trained_student(trained), subject.config()
    if is_main_process():
        modules = own_modules(read_config(subject.model.config))
        export(student, config, subject.dataset, subject.schedule, place.work_dir / WEIGHTS, modules)
        drop_checkpoints(place.work_dir)
    barrier()
    parameters, flops = parameters_and_flops(config, subject.dataset, subject.schedule)
    cost: dict[str, int | float | None] = {
        "seconds_per_iteration": trained.seconds_per_iteration,
        "peak_memory_mib": None
        if place.pack
        else peak_memory(place.device),  # a pack's is that of all its lanes
        "added_parameters": parameters_of(model.method),
        "student_parameters": parameters,
        "student_flops": flops,
        "student_bits": stored_bits(student) if isinstance(model.method, Compression) else None,
        **model.shares.means(),
    }
    return Outcome(trained.curve, cost, notes or [], weights_hash(student))


def _trained_student(trained: Trained) -> Any:
    """Return the trained student, with the average of its weights if mmengine's hook keeps one."""
    model = distiller_of(trained.runner)
    for hook in trained.runner.hooks:
        average = getattr(hook, "ema_model", None)
        if average is not None:
            return average.module.student
    return model.student


def peak_memory(device: str) -> float | None:
    """Return the peak memory in MiB: of this training on an accelerator, of this process since it began on a CPU.

    None where torch does not know that of the accelerator.
    """
    if device != devices.CPU:
        peak = devices.peak_memory(device)
        return None if peak is None else peak / 2**20
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident / 2**20 if sys.platform == "darwin" else resident / 2**10
