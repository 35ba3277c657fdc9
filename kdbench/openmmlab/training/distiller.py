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
from kdbench.openmmlab.batched.constants import constants_reused
from kdbench.openmmlab.captures.families import (
    captures_of,
    recording,
    teacher_record,
    teacher_view,
)
from kdbench.openmmlab.captures.heads import decoded_boxes, tail
from kdbench.openmmlab.captures.parts import Raw, family_of_model
from kdbench.openmmlab.models.features import FeatureTeacher, compared
from kdbench.openmmlab.training.losses import LossReader, Shares, share_of, shared_parameters, split_by_prefix
from kdbench.openmmlab.weights.checkpoints import weights_hash
from kdbench.plugins import title_of

METHOD = "loss_distill_"
"""What the names of a method's terms begin with, among the losses."""


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
        """Whether to measure how long the next captures take, for which the host waits on an accelerator."""
        self.borrowed = 0.0
        """Seconds that the last captures would have taken more, had another lane not asked for them before."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    def to(self, device: torch.device) -> Teacher:
        """Move the model."""
        self.model.to(device)
        return self

    def captures(
        self, inputs: Tensor, samples: Any, student: Any, raw: Raw, names: frozenset[str]
    ) -> Captures:
        """Return the captures of a batch that was normalised for the student."""
        return self.beside(raw, self.look(inputs, samples, student, names), names)

    def look(self, inputs: Tensor, samples: Any, student: Any, names: frozenset[str]) -> Raw:
        """Run the teacher on a batch that was normalised for the student, before the student's own pass."""
        inputs = renormalise(inputs, student.data_preprocessor, self.model.data_preprocessor, samples)
        if isinstance(self.model, FeatureTeacher):
            return dict.fromkeys(names, self.model.extract_feat(inputs))
        return teacher_record(self.model, inputs, samples, names)

    def beside(self, student: Raw, record: Raw, names: frozenset[str]) -> Captures:
        """Return the captures of a batch from :meth:`look`, on the RoIs of the student's raw record, if any."""
        if isinstance(self.model, FeatureTeacher):
            return {name: record[name] for name in names}
        return teacher_view(self.model, record, student, names)

    def compared(self, student: Captures, seen: Captures) -> Captures:
        """Return the student's captures, with as many maps as a feature teacher gives."""
        return compared(student, seen) if isinstance(self.model, FeatureTeacher) else student

    def tail(self, hidden: Any, *, after: int) -> Predictions:
        """Run the head's layers behind a convolution on hidden maps, as ``Step.teacher_tail`` says."""
        return tail(self.model.bbox_head, hidden, after)

    def boxes(self, predictions: Predictions) -> list[Tensor]:
        """Decode predictions, as ``Step.teacher_boxes`` says."""
        return decoded_boxes(self.model.bbox_head, predictions.boxes)

    def forget(self) -> None:
        """Keep nothing of the last batch, since a student changed it."""

    def intact(self) -> bool:
        """Whether the weights are those that it was made with."""
        return weights_hash(self.model) == self._sha256


def versions(value: Any) -> list[int]:
    """Return how often each tensor in a nest of containers was changed in place."""
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
        samples: Data samples, which know each image's size within the padded batch.
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
    """Whether two data preprocessors give the same pixels."""
    if student._channel_conversion != teacher._channel_conversion:
        return False
    if student._enable_normalize != teacher._enable_normalize:
        return False
    return not student._enable_normalize or _equal(student, teacher)


_compared: WeakKeyDictionary[Any, WeakKeyDictionary[Any, bool]] = WeakKeyDictionary()


def _equal(student: Any, teacher: Any) -> bool:
    """Whether mean and std are; on an accelerator they are compared once, since the host waits for that."""
    known = _compared.setdefault(student, WeakKeyDictionary())
    if teacher not in known or student.mean.device.type == CPU:
        known[teacher] = torch.equal(student.mean, teacher.mean) and torch.equal(student.std, teacher.std)
    return known[teacher]


class Distiller(BaseModel):  # type: ignore[misc]
    """Trains a student with a method.

    Method, adversary and teachers are on the student's device from here on, wherever they were built.

    Args:
        student: The student, initialised, on the device that it trains on.
        method: The method, built. Its parameters train beside the student's.
        teacher: The teacher; None where the method needs none.
        others: Further teachers of an ensemble.
        seed: Seed of the run: every step's random state comes from it.
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
        """What the last iteration saw, for the method's adversary, which trains after the student's step."""
        adversary = method.adversary()
        for taught_by in self.teachers:
            taught_by.asked |= names
        if adversary is not None:
            adversary.requires_grad_(False)  # but in its own step: no gradient, no optimizer, no DDP
        self.to(next(student.parameters()).device)

    def init_weights(self) -> None:
        """Nothing: the student came initialised under its own random state."""

    def to(self, *args: Any, **kwargs: Any) -> Distiller:
        """Move the student and the method, and the teachers after them."""
        super().to(*args, **kwargs)
        for teacher in self.teachers:
            teacher.to(next(self.student.parameters()).device)
        return self

    @property
    def teachers(self) -> tuple[Teacher, ...]:
        """Every teacher that there is."""
        return () if self.teacher is None else (self.teacher, *self.others)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Mmengine's contract; ``loss`` adds the method's terms to the student's."""
        if mode != "loss":
            return self.student(inputs, data_samples, mode=mode)
        with constants_reused(inputs.device):
            losses, terms, weight = self._computed(inputs, data_samples)
        if weight != 1.0:
            losses = {
                name: scaled(value, weight) if "loss" in name else value for name, value in losses.items()
            }
        return losses | {f"{METHOD}{name}": term for name, term in terms.items()}

    def _computed(self, inputs: Tensor, data_samples: Any) -> tuple[dict[str, Any], dict[str, Tensor], float]:
        """Return what :meth:`compute` gives; if it fails, an earlier non-finite loss is the better reason."""
        try:
            return self.compute(inputs, data_samples)
        except Exception:
            self.loss_reader.read()
            raise

    def stream(self) -> tuple[int | str, ...]:
        """Key of this iteration's random states."""
        return self.seed, "step", self.iteration, get_rank()

    def compute(self, inputs: Tensor, data_samples: Any) -> tuple[dict[str, Any], dict[str, Tensor], float]:
        """Compute the student's losses, the method's terms, and the factor on the former.

        The teacher looks first: while it does, none of what the student keeps for its backward takes memory.
        Random states are set and not put back: whatever draws a number next sets its own.
        """
        stream, names = self.stream(), self.names
        for teacher in self.teachers:
            teacher.timed = self.loss_reader.due(self.iteration, inputs.device)
        records = [teacher.look(inputs, data_samples, self.student, names) for teacher in self.teachers]
        untouched = versions(records)
        watching: AbstractContextManager[Any] = recording(self.student, names) if names else nullcontext({})
        reseed(*stream, "student")
        with watching as raw:
            losses = self.student(inputs, data_samples, mode="loss")
        captures = captures_of(self.student, raw, names)
        shown = [
            teacher.beside(raw, record, names) for teacher, record in zip(self.teachers, records, strict=True)
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
        """Refuse a method that changed in place what the teacher gave, which the students of a pack share."""
        if versions(records) != untouched:
            for teacher in self.teachers:
                teacher.forget()
            raise RuntimeError("it changed the teacher's captures in place: it must work on copies")

    def parse_losses(self, losses: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Their sum, and what is logged: nothing where this iteration is not looked at.

        Raises:
            NonFiniteLoss: For the first loss that is not finite, when it is looked at.
        """
        self._measure_share(losses)
        total, logged = super().parse_losses(losses)
        return total, self.loss_reader.add(self.iteration, logged)

    def _measure_share(self, losses: dict[str, Any]) -> None:
        """Measure the method's share of the gradient in the iterations that count, if it has terms."""
        method, task = split_by_prefix(losses, METHOD)
        if not method or not self.shares.due(self.iteration):
            return
        device = self.data_preprocessor.device
        devices.synchronize(device)
        begun = time.perf_counter()
        ours, theirs = (super(Distiller, self).parse_losses(part)[0] for part in (method, task))
        self.shares.note(self.iteration, share_of(ours, theirs, shared_parameters(self.student)))
        devices.synchronize(device)
        self.shares.seconds = time.perf_counter() - begun


def scaled(value: Any, weight: float) -> Any:
    """Multiply a loss, or each of a list of losses, by a weight."""
    return value * weight if isinstance(value, Tensor) else [part * weight for part in value]


def classification_scaled(losses: dict[str, Any], weight: float) -> dict[str, Any]:
    """Multiply a detector's classification terms (``loss_cls``, ``loss_rpn_cls``) by a weight.

    Raises:
        UserError: If the weight is not 1 and no term has such a name.
    """
    named = {name for name in losses if "loss" in name and "cls" in name}
    if weight != 1.0 and not named:
        raise UserError(
            f"the method weights the student's classification, but none of its losses ({', '.join(losses)}) is "
            "named so: choose a detector whose heads give loss_cls."
        )
    return _scaled_where(losses, weight, named)


def head_scaled(losses: dict[str, Any], weight: float) -> dict[str, Any]:
    """Scale the losses of a two-stage detector's RoI head (all but ``loss_rpn_...``).

    Raises:
        UserError: If the weight is not 1 and there is no RPN.
    """
    named = {name for name in losses if "loss" in name and not name.startswith("loss_rpn")}
    if weight != 1.0 and not any(name.startswith("loss_rpn") for name in losses):
        raise UserError("the method weights the student's RoI head: choose a two-stage detector.")
    return _scaled_where(losses, weight, named)


def _scaled_where(losses: dict[str, Any], weight: float, names: set[str]) -> dict[str, Any]:
    if weight == 1.0:
        return losses
    return {name: scaled(value, weight) if name in names else value for name, value in losses.items()}


def targets_of(model: Any, inputs: Tensor, samples: Any) -> Targets:
    """Ground truth of a batch."""
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
