"""Shows what a method attends to in one image, by one training forward of a student."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from kdbench import devices
from kdbench.cards import MethodCard, Options
from kdbench.distill import Captures, Step
from kdbench.distill.randomness import generator, seeded
from kdbench.errors import UserError, running
from kdbench.openmmlab.captures.families import captures_of, recording
from kdbench.openmmlab.captures.parts import family_of_model
from kdbench.openmmlab.checks.preflight import Probe, check_family
from kdbench.openmmlab.data.loaders import images_of, training_pipeline
from kdbench.openmmlab.students import Subject
from kdbench.openmmlab.training.distiller import Teacher, targets_of
from kdbench.plugins import make_method, title_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunModel:
    """A model of a pair, with its trained weights if it was trained.

    Attributes:
        subject: The model.
        weights: File of its trained weights; if there is none, the model is initialised under its seed.
    """

    subject: Subject
    weights: Path

    def build(self, role: str, device: str) -> Any:
        """Build the model in training mode with frozen normalisation, since one image has no statistics."""
        if self.weights.is_file():
            model, _ = self.subject.loaded(self.weights)
            log.info(f"{role}: trained, {self.weights}")
        else:
            model = replace(self.subject, pretrained=False, inherits=None).build()
            log.info(f"{role}: untrained, seed {self.subject.seed}; there is no {self.weights}")
        for module in model.train().modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return model.to(device)


@dataclass(frozen=True)
class AttendedImage:
    """One image and the attention of a method in it.

    Attributes:
        image: (H, W, 3) bytes in RGB, resized and padded as for the student.
        size: Height and width without the padding.
        boxes: (G, 4) x1, y1, x2, y2; empty in segmentation.
        mask: (H, W) class indices, or None in detection.
        maps: Name -> (h, w) weights in [0, 1] over the whole padded image.
    """

    image: npt.NDArray[np.uint8]
    size: tuple[int, int]
    boxes: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int64] | None
    maps: Mapping[str, npt.NDArray[np.float32]]


def attended(
    card: MethodCard,
    options: Options,
    models: Mapping[str, RunModel],
    folder: Path,
    split: str,
    index: int,
    device: str = devices.CPU,
) -> AttendedImage:
    """Run one image through the student as in training, without augmentation, and return the method's attention.

    Args:
        card: The method's card.
        options: Its options.
        models: ``student`` and ``teacher``; the teacher is only built if the method uses it.
        folder: Data of the dataset.
        split: Split of the image.
        index: Position of the image in the split.
        device: Type of the device.

    Raises:
        UserError: If the method does not work in the student's family, has no attention with these options, or
            returns something other than weights.
    """
    subject = models["student"].subject
    method = make_method(card, options).to(device)
    student = models["student"].build("student", device)
    family = family_of_model(student)
    names = check_family(method, family, features=models["teacher"].subject.model.gives_features)
    plain = {"flip": 0.0, "crop": None, "resize_range": None}
    pipeline = training_pipeline(subject.dataset, subject.schedule.model_copy(update=plain))
    image = images_of(subject.dataset, folder, split, pipeline)[index]
    inputs, samples = Probe(pseudo_collate([image])).batch(student)
    with torch.no_grad(), seeded(subject.seed, "attention"):
        with recording(student, names) as raw:
            student(inputs, samples, mode="loss")
        teacher = TeacherCaptures(models["teacher"], (inputs, samples, student, raw, names))
        targets = targets_of(student, inputs, samples)
        seen = captures_of(student, raw, names)
        draws = generator(inputs.device, subject.seed, "attention")
        length = subject.schedule.iterations
        step = Step(seen, teacher, targets, inputs, 0, length, generator=draws, family=family)
        with running(title_of(card), "attention()"):
            maps = method.attention(step)
    _check(card.name, maps)
    height, width = samples[0].img_shape[:2]
    return AttendedImage(
        image=_rgb(inputs, student.data_preprocessor)[0].permute(1, 2, 0).cpu().numpy(),
        size=(height, width),
        boxes=targets.boxes[0].float().cpu().numpy() if targets.boxes else np.zeros((0, 4), np.float32),
        mask=None if targets.masks is None else targets.masks[0].cpu().numpy(),
        maps={name: weights[0].float().cpu().numpy() for name, weights in maps.items()},
    )


def _check(name: str, maps: Mapping[str, Tensor]) -> None:
    """Check a method's attention.

    Raises:
        UserError: If there is no map, or one is not (B, h, w) weights in [0, 1].
    """
    if not maps:
        raise UserError(f"method '{name}' has no picture to show with these options: try others.")
    for key, weights in maps.items():
        if weights.dim() != 3 or not ((weights >= 0) & (weights <= 1)).all():
            raise UserError(
                f"attention() of '{name}' must give (images, h, w) weights in [0, 1]: '{key}' is not."
            )


class TeacherCaptures(Mapping[str, Any]):
    """The teacher's captures, computed when the first one is used.

    Args:
        model: The teacher.
        arguments: Arguments of :meth:`kdbench.openmmlab.training.distiller.Teacher.captures`.
    """

    def __init__(self, model: RunModel, arguments: tuple[Any, ...]) -> None:
        self.model, self.arguments = model, arguments

    @cached_property
    def captures(self) -> Captures:
        """All captures."""
        inputs = self.arguments[0]
        model = self.model.build("teacher", inputs.device.type)
        return Teacher(model).captures(*self.arguments)

    def __getitem__(self, name: str) -> Any:
        return self.captures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arguments[-1])

    def __len__(self) -> int:
        return len(self.arguments[-1])


def _rgb(inputs: Tensor, preprocessor: Any) -> Tensor:
    """Convert a normalised batch (B, 3, H, W) to bytes in RGB."""
    pixels = inputs * preprocessor.std + preprocessor.mean if preprocessor._enable_normalize else inputs
    ordered = pixels if preprocessor._channel_conversion else pixels.flip(1)
    return ordered.round().clamp(0, 255).byte()
