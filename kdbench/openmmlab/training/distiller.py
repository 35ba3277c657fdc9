"""The model that mmengine trains: a student, a method beside it, and a teacher that is in no state dict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from mmengine.dist import get_rank
from mmengine.model import BaseModel
from torch import Tensor, nn

from kdbench import devices
from kdbench.devices import CPU
from kdbench.distill import Method, Step, Targets
from kdbench.distill.captures import Captures, Predictions
from kdbench.distill.method import check_terms
from kdbench.distill.randomness import generator, reseed
from kdbench.distill.settings import unchanged
from kdbench.errors import UserError, running
from kdbench.openmmlab.batched.transfer import constants_reused
from kdbench.openmmlab.captures.families import (
    captures_of,
    recording,
    teacher_record,
    teacher_view,
)
from kdbench.openmmlab.captures.heads import decoded_boxes, tail
from kdbench.openmmlab.captures.parts import Raw, family_of_model
from kdbench.openmmlab.models.features import FeatureTeacher, matching_levels
from kdbench.openmmlab.training.losses import LossReader, Shares, share_of, shared_parameters, split_by_prefix
from kdbench.openmmlab.weights.checkpoints import weights_hash
from kdbench.plugins import title_of

TERM_PREFIX = "loss_distill_"
"""Prefix of the names of a method's terms among the losses."""


class Teacher:
    """A frozen teacher, held outside of any module tree: eval mode, no gradients, never copied.

    Args:
        model: The trained model, with its own data preprocessor.
        missed: Weights that its checkpoint lacks, and why; they are random.
    """

    def __init__(self, model: nn.Module, missed: Mapping[str, str] | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self.missed = missed or {}
        self._sha256 = weights_hash(model)
        self.asked: frozenset[str] = frozenset()
        """Captures that any of its students needs."""
        self.timed = True
        """Whether to time the next captures, which makes the host wait for an accelerator."""
        self.borrowed = 0.0
        """Seconds that the last captures saved because another lane had computed them, in s."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    def to(self, device: torch.device) -> Teacher:
        """Move the model."""
        self.model.to(device)
        return self

    def captures(
        self, inputs: Tensor, samples: Any, student: Any, raw: Raw, names: frozenset[str]
    ) -> Captures:
        """Return the captures of a batch that is normalised for the student."""
        return self.captures_for(raw, self.observe(inputs, samples, student, names), names)

    def observe(self, inputs: Tensor, samples: Any, student: Any, names: frozenset[str]) -> Raw:
        """Run the teacher on a batch that is normalised for the student, before the student's own pass."""
        inputs = renormalise(inputs, student.data_preprocessor, self.model.data_preprocessor, samples)
        if isinstance(self.model, FeatureTeacher):
            return dict.fromkeys(names, self.model.extract_feat(inputs))
        return teacher_record(self.model, inputs, samples, names)

    def captures_for(self, student: Raw, record: Raw, names: frozenset[str]) -> Captures:
        """Return the captures of a batch, given the result of :meth:`observe` and the student's raw record."""
        if isinstance(self.model, FeatureTeacher):
            return {name: record[name] for name in names}
        return teacher_view(self.model, record, student, names)

    def compared(self, student: Captures, seen: Captures) -> Captures:
        """Return the student's captures, with only the maps that a feature teacher has a counterpart of."""
        return matching_levels(student, seen) if isinstance(self.model, FeatureTeacher) else student

    def tail(self, hidden: Any, *, after: int) -> Predictions:
        """Run the head's layers after a convolution on hidden maps, for ``Step.teacher_tail``."""
        return tail(self.model.bbox_head, hidden, after)

    def boxes(self, predictions: Predictions) -> list[Tensor]:
        """Decode predictions, for ``Step.teacher_boxes``."""
        return decoded_boxes(self.model.bbox_head, predictions.boxes)

    def forget(self) -> None:
        """Drop what is kept of the last batch, since a student changed it."""

    def intact(self) -> bool:
        """Whether the weights are unchanged."""
        return weights_hash(self.model) == self._sha256


def versions(value: Any) -> list[int]:
    """Return torch's count of in-place changes of each tensor in nested containers."""
    if isinstance(value, Tensor):
        return [value._version]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [version for part in value for version in versions(part)]
    return []


def renormalise(inputs: Tensor, student: Any, teacher: Any, samples: Any) -> Tensor:
    """Undo the student's normalisation and apply the teacher's, padding kept at 0.

    Args:
        inputs: (B, 3, H, W) as the student sees them.
        student: The student's data preprocessor.
        teacher: The teacher's.
        samples: Data samples, with each image's size within the padded batch.
    """
    if same_normalisation(student, teacher):
        return inputs
    pixels = inputs * student.std + student.mean if student._enable_normalize else inputs
    if student._channel_conversion != teacher._channel_conversion:
        pixels = pixels.flip(1)
    outputs = (pixels - teacher.mean) / teacher.std if teacher._enable_normalize else pixels
    for image, sample in zip(outputs, samples, strict=True):
        height, width = sample.img_shape[:2]
        image[:, height:] = 0
        image[:, :, width:] = 0
    return outputs


def same_normalisation(student: Any, teacher: Any) -> bool:
    """Whether two data preprocessors normalise alike."""
    if student._channel_conversion != teacher._channel_conversion:
        return False
    if student._enable_normalize != teacher._enable_normalize:
        return False
    return not student._enable_normalize or _equal(student, teacher)


_compared: WeakKeyDictionary[Any, WeakKeyDictionary[Any, bool]] = WeakKeyDictionary()


def _equal(student: Any, teacher: Any) -> bool:
    """Whether mean and std are equal; on an accelerator they are compared once, since the host waits for that."""
    known = _compared.setdefault(student, WeakKeyDictionary())
    if teacher not in known or student.mean.device.type == CPU:
        known[teacher] = torch.equal(student.mean, teacher.mean) and torch.equal(student.std, teacher.std)
    return known[teacher]


class Distiller(BaseModel):  # type: ignore[misc]
    """A student that trains with a method.

    It moves the method, its adversary and the teachers to the student's device.

    Args:
        student: The initialised student, on the device of the training.
        method: The built method; its parameters train with the student's.
        teacher: The teacher; None if the method needs none.
        others: Further teachers of an ensemble.
        seed: Seed of the run, from which every step's random state is derived.
        iterations: Iterations of the whole training.
        names: Captures that the method needs.
    """

    def __init__(
        self,
        student: Any,
        method: Method[Any],
        teacher: Teacher | None,
        *,
        seed: int,
        iterations: int,
        names: frozenset[str],
        others: Sequence[Teacher] = (),
    ) -> None:
        super().__init__(data_preprocessor=None)
        self.student = student
        self.method = method
        self.title = title_of(type(method))
        self.teacher = teacher
        self.others = tuple(others)
        self.seed, self.iterations, self.names = seed, iterations, names
        self.iteration = 0
        self.loss_reader, self.shares = LossReader(iterations), Shares(iterations)
        self.data_preprocessor = student.data_preprocessor
        self.seen: Step | None = None
        """The last iteration's step, detached, for the method's adversary, which trains after the student."""
        adversary = method.adversary()
        for taught_by in self.teachers:
            taught_by.asked |= names
        if adversary is not None:
            adversary.requires_grad_(False)  # except in its own step: no gradient, no optimizer, no DDP
        self.to(next(student.parameters()).device)

    def init_weights(self) -> None:
        """Do nothing: the student is initialised already, under its own random state."""

    def to(self, *args: Any, **kwargs: Any) -> Distiller:
        """Move the student and the method, and the teachers after them."""
        super().to(*args, **kwargs)
        for teacher in self.teachers:
            teacher.to(next(self.student.parameters()).device)
        return self

    @property
    def teachers(self) -> tuple[Teacher, ...]:
        """All teachers."""
        return () if self.teacher is None else (self.teacher, *self.others)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Run the student as mmengine's contract asks; ``loss`` adds the method's terms to its losses."""
        if mode != "loss":
            return self.student(inputs, data_samples, mode=mode)
        with constants_reused(inputs.device):
            losses, terms, weight = self._computed(inputs, data_samples)
        losses = scaled(losses, weight)
        return losses | {f"{TERM_PREFIX}{name}": term for name, term in terms.items()}

    def _computed(self, inputs: Tensor, data_samples: Any) -> tuple[dict[str, Any], dict[str, Tensor], float]:
        """Return the result of :meth:`compute`; if it fails, an earlier non-finite loss is the better reason."""
        try:
            return self.compute(inputs, data_samples)
        except Exception:
            self.loss_reader.read()
            raise

    def stream(self) -> tuple[int | str, ...]:
        """Return the key of this iteration's random states."""
        return self.seed, "step", self.iteration, get_rank()

    def compute(self, inputs: Tensor, data_samples: Any) -> tuple[dict[str, Any], dict[str, Tensor], float]:
        """Compute the student's losses, the method's terms, and the factor on the former.

        The teacher runs first, while the student holds no memory for its backward pass yet. Random states are
        set and not restored: whatever draws a number next sets its own.
        """
        stream, names = self.stream(), self.names
        for teacher in self.teachers:
            teacher.timed = self.loss_reader.due(self.iteration, inputs.device)
        records = [teacher.observe(inputs, data_samples, self.student, names) for teacher in self.teachers]
        untouched = versions(records)
        watching: AbstractContextManager[Any] = recording(self.student, names) if names else nullcontext({})
        reseed(*stream, "student")
        with watching as raw:
            losses = self.student(inputs, data_samples, mode="loss")
        captures = captures_of(self.student, raw, names)
        shown = [
            teacher.captures_for(raw, record, names)
            for teacher, record in zip(self.teachers, records, strict=True)
        ]
        seen, others = (shown[0], tuple(shown[1:])) if shown else ({}, ())
        if self.teacher is not None:
            captures = self.teacher.compared(captures, seen)
        targets = targets_of(self.student, inputs, data_samples)
        draws = generator(inputs.device, *stream, "method")
        family = family_of_model(self.student)
        step = Step(
            captures, seen, targets, inputs, self.iteration, self.iterations, others, draws, family=family
        )
        if "head_hidden" in names and self.teacher is not None:
            step = replace(step, teacher_tail=self.teacher.tail, teacher_boxes=self.teacher.boxes)
        if self.method.adversary() is not None:
            self.seen = step.detached()
        reseed(*stream, "method")
        with running(self.title, "losses()"), unchanged():
            losses = classification_scaled(losses, self.method.classification_weight(step))
            losses = head_scaled(losses, self.method.head_weight(step))
            terms, weight = self.method.losses(step), self.method.task_weight(step)
            check_terms(terms)
            self.check_untouched(records, untouched)
        return losses, terms, weight

    def check_untouched(self, records: Sequence[Raw], untouched: list[int]) -> None:
        """Raise RuntimeError if the method changed the teacher's captures in place, which lanes of a pack share."""
        if versions(records) != untouched:
            for teacher in self.teachers:
                teacher.forget()
            raise RuntimeError("it changed the teacher's captures in place: it must work on copies")

    def parse_losses(self, losses: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Return the sum of the losses, and what is logged: nothing unless this iteration's losses are read.

        Raises:
            NonFiniteLoss: For the first loss that is not finite, when the losses are read.
        """
        self._measure_share(losses)
        total, logged = super().parse_losses(losses)
        return total, self.loss_reader.add(self.iteration, logged)

    def _measure_share(self, losses: dict[str, Any]) -> None:
        """Measure the method's share of the gradient if this iteration counts and the method has terms."""
        method, task = split_by_prefix(losses, TERM_PREFIX)
        if not method or not self.shares.due(self.iteration):
            return
        device = self.data_preprocessor.device
        devices.synchronize(device)
        begun = time.perf_counter()
        ours, theirs = (super(Distiller, self).parse_losses(part)[0] for part in (method, task))
        self.shares.note(self.iteration, share_of(ours, theirs, shared_parameters(self.student)))
        devices.synchronize(device)
        self.shares.seconds = time.perf_counter() - begun


def scaled(losses: dict[str, Any], weight: float, names: set[str] | None = None) -> dict[str, Any]:
    """Multiply losses by a weight; the accuracies among them stay.

    Args:
        losses: Name -> a loss or a list of losses.
        weight: The factor.
        names: Names of the losses to scale; None scales all.
    """
    if weight == 1.0:
        return losses
    chosen = {name for name in losses if "loss" in name} if names is None else names
    return {name: _times(value, weight) if name in chosen else value for name, value in losses.items()}


def _times(value: Any, weight: float) -> Any:
    return value * weight if isinstance(value, Tensor) else [part * weight for part in value]


def classification_scaled(losses: dict[str, Any], weight: float) -> dict[str, Any]:
    """Multiply a detector's classification losses (``loss_cls``, ``loss_rpn_cls``) by a weight.

    Raises:
        UserError: If the weight is not 1 and no loss has such a name.
    """
    names = {name for name in losses if "loss" in name and "cls" in name}
    if weight != 1.0 and not names:
        raise UserError(
            f"the method weights the student's classification, but none of its losses ({', '.join(losses)}) is "
            "named so: choose a detector whose heads give loss_cls."
        )
    return scaled(losses, weight, names)


def head_scaled(losses: dict[str, Any], weight: float) -> dict[str, Any]:
    """Multiply the losses of a two-stage detector's RoI head (all but ``loss_rpn_...``) by a weight.

    Raises:
        UserError: If the weight is not 1 and there is no RPN.
    """
    names = {name for name in losses if "loss" in name and not name.startswith("loss_rpn")}
    if weight != 1.0 and not any(name.startswith("loss_rpn") for name in losses):
        raise UserError("the method weights the student's RoI head: choose a two-stage detector.")
    return scaled(losses, weight, names)


def targets_of(model: Any, inputs: Tensor, samples: Any) -> Targets:
    """Return the ground truth of a batch."""
    height, width = inputs.shape[-2:]
    sizes = tuple((int(sample.img_shape[0]), int(sample.img_shape[1])) for sample in samples)
    if set(sizes) == {(height, width)}:
        sizes = ()
    if family_of_model(model) == "segmentation":
        masks = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
        head = model.decode_head
        last: Any = head[-1] if isinstance(head, nn.ModuleList) else head
        return Targets((), (), masks, (height, width), last.ignore_index, sizes)
    boxes = tuple(getattr(b := sample.gt_instances.bboxes, "tensor", b) for sample in samples)
    labels = tuple(sample.gt_instances.labels for sample in samples)
    return Targets(boxes, labels, None, (height, width), sizes=sizes)
