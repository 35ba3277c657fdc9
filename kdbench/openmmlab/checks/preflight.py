"""Checks before a training on one real batch, with copies of the models: shapes, pixels and first losses."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from torch import Tensor

from kdbench.dataset_cards import Dataset, MetricCard
from kdbench.distill import Method, Shapes
from kdbench.distill.captures import FAMILIES, shapes_of, spreads_of
from kdbench.distill.randomness import seeded
from kdbench.errors import GateError, PluginError, UserError, running
from kdbench.openmmlab.captures.families import captures_of, recording
from kdbench.openmmlab.captures.parts import family_of_model
from kdbench.openmmlab.data.sampling import SeededImages
from kdbench.openmmlab.models.features import MAPS, FeatureTeacher
from kdbench.openmmlab.training.distiller import Distiller, Teacher, renormalise
from kdbench.plugins import title_of

PROBED_IMAGES = 2
DRAWN_IMAGES = 200
"""Number of images that are searched for some with objects."""
LARGEST_RATIO = 100.0
"""Largest ratio of the distillation loss to the task loss."""


@dataclass(frozen=True)
class Probe:
    """One real batch.

    Attributes:
        raw: Images and samples as loaded, before any preprocessor.
        seen: Description of its content.
    """

    raw: Any
    seen: str = ""

    def batch(self, model: Any) -> tuple[Tensor, Any]:
        """Return the batch as a model's own preprocessor makes it in training."""
        MessageHub.get_current_instance().update_info("iter", 0)  # a preprocessor of random sizes reads it
        with seeded(0, "probe"):
            data = model.data_preprocessor(copy.deepcopy(self.raw), True)
        return data["inputs"], data["data_samples"]


def probe_of(images: SeededImages, count: int = PROBED_IMAGES) -> Probe:
    """Return the first images of a training that have objects; if none has, its first images.

    Args:
        images: The images of the training, in its order.
        count: Number of images.
    """
    drawn = (images[position] for position in range(DRAWN_IMAGES))
    taken = list(islice((image for image in drawn if _is_labelled(image, images)), count))
    labelled = len(taken)
    taken += [images[position] for position in range(count - labelled)]
    return Probe(pseudo_collate(taken), f"{count} images, {labelled} of them with objects")


def _is_labelled(image: Any, images: SeededImages) -> bool:
    """Whether an image has a box, or a pixel that is not ignored."""
    truth = image["data_samples"]
    if "gt_sem_seg" in truth:
        return bool((truth.gt_sem_seg.data != images.images.ignore_index).any())
    return len(truth.gt_instances) > 0


def check_family(method: Method[Any], family: str, *, features: bool = False) -> frozenset[str]:
    """Return the captures that a method needs, and those of its optional ones that the family has.

    Args:
        method: The method.
        family: The student's family.
        features: Whether the teacher only outputs feature maps.

    Raises:
        UserError: If the family lacks a needed capture, with the families that work, or a feature teacher does.
    """
    title = title_of(type(method))
    with running(title, "needs()"):
        needed, wanted = frozenset(method.needs()), frozenset(method.wants())
    known = frozenset().union(*FAMILIES.values())
    if unknown := (needed | wanted) - known:
        raise PluginError(f"{title} asks for unknown captures: {', '.join(sorted(unknown))}.")
    has = available(family, features=features)
    if needed <= has:
        return needed | (wanted & has)
    if needed <= FAMILIES[family]:
        raise UserError(
            f"{title} needs {', '.join(sorted(needed - has))}, and this teacher gives feature maps alone: choose a "
            "method that needs only backbone or neck, or a teacher from mmdet or mmseg."
        )
    working = [other for other, has in FAMILIES.items() if needed <= has]
    raise UserError(
        f"{title} needs {', '.join(sorted(needed - FAMILIES[family]))}, which {family} models do not have; "
        f"it works in: {', '.join(working) or 'no family'}."
    )


def available(family: str, *, features: bool) -> frozenset[str]:
    """Return the captures of a family that a teacher of it has, or one that only outputs feature maps."""
    return FAMILIES[family] & MAPS if features else FAMILIES[family]


def probe_shapes(
    student: Any, teacher: Teacher, probe: Probe, names: frozenset[str], dataset: Dataset
) -> Shapes:
    """Return the shapes of both models' captures on the probed batch; neither model's weights change.

    Raises:
        UserError: If the models are of two families and the method compares more than feature maps.
    """
    families = family_of_model(student), family_of_model(teacher.model)
    if families[0] != families[1] and not names <= MAPS:
        raise UserError(
            f"the student is a {families[0]} model, the teacher a {families[1]} one: their "
            f"{', '.join(sorted(names - MAPS))} cannot be compared; choose two models of one family."
        )
    copied = copy.deepcopy(student)
    inputs, samples = probe.batch(copied)
    teacher.to(inputs.device)
    with torch.no_grad(), seeded(0, "probe"), recording(copied, names) as raw:
        copied.train()(inputs, samples, mode="loss")
    seen = teacher.captures(inputs, samples, copied, raw, names)
    own = teacher.compared(captures_of(copied, raw, names), seen)
    foreground = len(dataset.classes)
    return Shapes(
        {name: shapes_of(value) for name, value in own.items()},
        {name: shapes_of(value) for name, value in seen.items()},
        foreground,
        (inputs.shape[-2], inputs.shape[-1]),
        families[0],
        {name: spreads_of(value) for name, value in seen.items()},
    )


def check_same_pixels(student: Any, teacher: Any, probe: Probe) -> None:
    """Check that the teacher sees the same pixels as through its own preprocessor.

    A feature teacher passes: it has a normalisation, but no size or padding of its own.

    Raises:
        GateError: If it does not.
    """
    if isinstance(teacher, FeatureTeacher):
        return
    inputs, samples = probe.batch(student)
    expected, _ = probe.batch(teacher)
    got = renormalise(inputs, student.data_preprocessor, teacher.data_preprocessor, samples)
    if got.shape != expected.shape:
        raise GateError(
            f"student and teacher see images of different size ({tuple(got.shape[-2:])} and "
            f"{tuple(expected.shape[-2:])}): give both configs the same padding and size in data_preprocessor."
        )
    difference = float((got - expected).abs().max())
    if difference > 1e-3:
        raise GateError(
            f"student and teacher see different pixels (up to {difference:.3g} apart after normalisation): "
            "compare mean, std, bgr_to_rgb and pad_value in both configs' data_preprocessor."
        )


def check_losses(model: Distiller, probe: Probe, selector: str) -> None:
    """Check that the first losses are finite, and the distillation loss neither zero nor far above the task loss.

    The first and the middle iteration are checked, since a method may start its loss late.

    Raises:
        GateError: With advice on what to look at.
    """
    trial = copy.deepcopy(model).train()
    inputs, samples = probe.batch(trial.student)
    ratios = []
    for iteration in (0, model.iterations // 2):
        trial.iteration = iteration
        with torch.no_grad():
            losses, terms, _ = trial.compute(inputs, samples)
        task = sum(_total(value) for name, value in losses.items() if "loss" in name)
        parts = {name: value for name, value in losses.items() if "loss" in name} | terms
        for name, value in parts.items():
            if not math.isfinite(_total(value)):
                cause = "the method's weight" if name in terms else "the learning rate and the data"
                raise GateError(f"{name} is not finite on the first batch ({probe.seen}): look at {cause}.")
        distillation = sum(abs(_total(value)) for value in terms.values())
        ratios.append(distillation / max(abs(task), 1e-12))
    largest = max(ratios)
    if largest == 0.0:
        raise GateError(
            f"the distillation loss of {selector} is zero on the first batch ({probe.seen}): is its weight 0?"
        )
    if largest > LARGEST_RATIO:
        raise GateError(
            f"the distillation loss of {selector} is {largest:.0f} times the task loss: lower its weight, and see "
            f"whether teacher and student features are normalised alike (the batch: {probe.seen})."
        )


def check_teacher(metric: MetricCard, value: float, chance: float) -> None:
    """Check that a teacher is better than chance.

    Args:
        metric: The metric.
        value: The teacher's score.
        chance: Distance of the score without skill from the worst one, see :func:`kdbench.datasets.usable.chance`.

    Raises:
        GateError: If it is not.
    """
    worse = value <= chance if metric.higher_is_better else value >= (chance := 1 - chance)
    if worse:
        raise GateError(
            f"the teacher's {metric.name} is {value:.3f}, no better than chance ({chance:.3f}): look at its "
            "training curve, or at whether its checkpoint's classes and preprocessing are this dataset's."
        )


def _total(value: Any) -> float:
    return (
        float(value.sum()) if isinstance(value, Tensor) else float(sum(float(part.sum()) for part in value))
    )
