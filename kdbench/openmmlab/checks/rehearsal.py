"""Tries untrained models on a few images before the first training, to find what cannot work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from kdbench.cards import MethodCard, Options
from kdbench.datasets.pictures import Size
from kdbench.distill.randomness import seeded
from kdbench.errors import ArgumentError, UserError
from kdbench.openmmlab.checks.preflight import PROBED_IMAGES, Probe, check_same_pixels, probe_of
from kdbench.openmmlab.complexity import broken_model, parameters_and_flops
from kdbench.openmmlab.data.loaders import batch_of_a_process, evaluation_sizes
from kdbench.openmmlab.data.sampling import SeededImages
from kdbench.openmmlab.models.configs import family_of
from kdbench.openmmlab.students import Subject, assembled, training_images
from kdbench.openmmlab.training.distiller import Teacher
from kdbench.openmmlab.training.runner import Place
from kdbench.openmmlab.weights.pretrained import require_pretrained
from kdbench.openmmlab.weights.unfreezing import unfrozen_layers
from kdbench.specs import only_warms_up

DIVISOR = 32
"""Divisor of an image's sides that models with size constraints need."""


class Untrained:
    """The untrained models of a session and their training images, each made once."""

    def __init__(self) -> None:
        self._models: dict[str, Any] = {}
        self._images: dict[str, SeededImages] = {}

    def model(self, subject: Subject, place: Place) -> Any:
        """Return a model on its device, without initial or inherited weights."""
        if subject.name not in self._models:
            untrained = replace(subject, pretrained=False, inherits=None)
            self._models[subject.name] = untrained.build().to(place.device)
        return self._models[subject.name]

    def probe(self, subject: Subject, place: Place, count: int = PROBED_IMAGES) -> Probe:
        """Return the first ``count`` images of a training."""
        if subject.name not in self._images:
            self._images[subject.name] = training_images(subject, place)
        return probe_of(self._images[subject.name], count)


def check_model(
    role: str, subject: Subject, place: Place, untrained: Untrained, *, trained: bool = True
) -> str:
    """Build a model, run it on shapes alone and, if it will be trained, on a few training images.

    Args:
        role: ``teacher`` or ``student``.
        subject: The model, its dataset and its recipe.
        place: The data and the device.
        untrained: Cache of the session's models.
        trained: Whether it will be trained; False for a teacher from a checkpoint, or one of feature maps.

    Returns:
        One line on its size and on unfrozen layers.

    Raises:
        UserError: If the family is unknown, or the config, an edit, the initial weights or the recipe do not
            work.
    """
    config, judged = subject.config(), not subject.model.gives_features
    if judged:
        family_of(config)
    if subject.pretrained:
        require_pretrained(config, download=subject.download)
    try:
        parameters, flops = parameters_and_flops(config, subject.dataset, subject.schedule)
        notes = _notes(subject, config) if trained else []
        if judged:
            _check_sizes(role, subject, place)
        if trained:
            _step(subject, place, untrained)
    except (UserError, OSError):
        raise
    except Exception as error:
        raise _explained(role, subject, error) from error
    size = f"{amount(parameters)} parameters, {amount(flops)} multiply-adds"
    return ", ".join([f"{role}: {subject.model.config}", size, *notes])


def check_together(
    student: Subject,
    teachers: Sequence[Subject],
    card: MethodCard,
    options: Options,
    place: Place,
    untrained: Untrained,
    *,
    force: bool,
) -> None:
    """Run a method between untrained models on a few images, at the start of a training and half-way.

    The values mean nothing yet, but the method runs only if families, levels, heads and sizes match.

    Args:
        student: The student.
        teachers: The teacher; several for an ensemble.
        card: The method's card.
        options: Its options.
        place: The data and the device.
        untrained: Cache of the session's models.
        force: Whether to accept models that see different pixels.

    Raises:
        UserError: If the method does not work with these models.
    """
    model, probe = untrained.model(student, place), untrained.probe(student, place)
    taught_by = [Teacher(untrained.model(teacher, place)) for teacher in teachers]
    together, _ = assembled(student, model, taught_by, card, options, probe)
    if not force:
        for teacher in taught_by:
            check_same_pixels(model, teacher.model, probe)
    inputs, samples = probe.batch(together.train().student)
    for iteration in (0, together.iterations // 2):
        together.iteration = iteration
        with torch.no_grad(), seeded(0, "rehearsal"):
            together.compute(inputs, samples)


def _notes(subject: Subject, config: Any) -> list[str]:
    """Return notes on what is unusual about a training."""
    notes, recipe = unfrozen_layers(config, subject.dataset), subject.schedule
    if only_warms_up(recipe):
        notes.append(
            f"all {recipe.iterations} iterations are warm-up ({recipe.warmup}): the learning rate never falls"
        )
    return notes


def _step(subject: Subject, place: Place, untrained: Untrained) -> None:
    """Compute the losses of an untrained model, on as many images as a process has in a batch, or two."""
    model = untrained.model(subject, place)
    images = min(PROBED_IMAGES, batch_of_a_process(subject.schedule))
    inputs, samples = untrained.probe(subject, place, images).batch(model)
    with torch.no_grad(), seeded(0, "rehearsal"):
        model.train()(inputs, samples, mode="loss")


def _check_sizes(role: str, subject: Subject, place: Place) -> None:
    """Raise an error if the model cannot take the sizes of the test images."""
    if not subject.schedule.keep_ratio:
        return
    for size in evaluation_sizes(subject.dataset, place.folder, subject.schedule):
        if any(side % DIVISOR for side in size):
            if not _takes(subject, size):
                raise _needs_multiples(role, subject, size)
            return


def _takes(subject: Subject, size: Size) -> bool:
    """Whether a model runs on images of a size (width and height), padded as its config says."""
    schedule = subject.schedule.model_copy(update={"scale": size, "crop": None})
    try:
        parameters_and_flops(subject.config(), subject.dataset, schedule)
    except Exception:
        return False
    return True


def _needs_multiples(role: str, subject: Subject, size: Size, part: str = "scale") -> ArgumentError:
    key = f"{role}.data_preprocessor.pad_size_divisor"
    if subject.dataset.task == "segmentation":
        key = f"{_section(role)}.{part}"
    which = f"the {role} takes images whose sides are multiples of {DIVISOR}"
    return ArgumentError(
        "settings", f"{which}, not {size[0]} x {size[1]}: set it to {DIVISOR} or a multiple.", key
    )


def _section(role: str) -> str:
    """Return the part of a pair with a role's recipe."""
    return "schedule" if role == "student" else "teacher_schedule"


def _explained(role: str, subject: Subject, error: Exception) -> UserError:
    """Return a model's error in the words of its user."""
    text = str(error)
    if "more than 1 value per channel" in text:
        why = f"the {role} normalises over a batch after pooling: two images in each process at least."
        return ArgumentError("settings", why, f"{_section(role)}.batch_size")
    if "no attribute 'masks'" in text:
        why = f"the {role} learns masks of objects, which {subject.dataset.name} has not: set this to null."
        return ArgumentError("settings", why, f"{role}.roi_head.mask_head")
    sizes = {"scale": subject.schedule.scale, "crop": (subject.schedule.crop or (DIVISOR, DIVISOR))[::-1]}
    for part, size in sizes.items():
        padded = (-(-size[0] // DIVISOR) * DIVISOR, -(-size[1] // DIVISOR) * DIVISOR)
        if padded != size and _takes(subject, padded) and not _takes(subject, size):
            return _needs_multiples(role, subject, size, part)
    return broken_model(role, subject.model, error)


def amount(number: int) -> str:
    """Format a large number with three digits: ``1.23 M``."""
    value, unit = (number / 1e9, "G") if number >= 1e9 else (number / 1e6, "M")
    return f"{value:.3g} {unit}"
