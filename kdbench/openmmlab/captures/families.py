"""Defines what "neck", "rois" or "logits" are in each family of models, for the student and for the teacher.

Hooks take the student's captures from its own training forward: nothing is computed twice and its random state
does not change. The teacher then computes only the parts that are needed, on the student's proposals and RoIs
where there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.distill.captures import Assignment, Captures, Logits, Predictions
from kdbench.distill.levels import LevelsByAnchors, LevelsByScale
from kdbench.errors import UserError
from kdbench.openmmlab.captures import parts, queries
from kdbench.openmmlab.captures.assignments import DenseTraining, RoiTraining, check_understood, is_understood
from kdbench.openmmlab.captures.heads import decoded_boxes, encoding_as_in_training, hidden_maps, keep_hidden
from kdbench.openmmlab.captures.parts import (
    AUXILIARY,
    Raw,
    auxiliary_heads,
    auxiliary_logits,
    family_of_model,
    parts_of,
)

POINT_BOX_STRIDES = 8
"""Side, in strides, of the box that represents a point of an anchor-free head."""

ASSIGNED = {"two-stage": ("rpn", "roi"), "dense": ("head",), "query": (), "segmentation": ()}
"""Family -> its heads with an assignment."""

AT_ROIS = frozenset(
    {"roi_features", "roi_logits", "roi_boxes", "logits", "softmax_logits", "roi_targets", "assignments"}
)
"""Captures for which a two-stage teacher runs its RoI head on the student's RoIs."""

AT_HEAD = frozenset({"head", "head_boxes", "head_hidden", "logits", "head_targets", "assignments"})
"""Captures for which a dense teacher runs its head."""


@contextmanager
def recording(model: nn.Module, names: frozenset[str] = frozenset()) -> Iterator[Raw]:
    """Record the inputs and outputs of a model's parts while it runs.

    A cascade of decode heads is left out: see :func:`kdbench.openmmlab.captures.parts.check_decode_cascade`.

    Args:
        model: The model.
        names: Requested captures; only ``head_hidden`` makes a difference, since a head's hidden maps are copied.
    """
    raw: Raw = {}
    modules = {name: part for name, part in parts_of(model).items() if not isinstance(part, nn.ModuleList)}
    handles = [part.register_forward_hook(_keep(raw, name)) for name, part in modules.items()]
    if "head_hidden" in names and "head" in modules:
        handles += keep_hidden(modules["head"], raw.setdefault("head_hidden", []))
    if family_of_model(model) == "query":
        handles.append(queries.record_head(model, raw))
    undo = _watch(model, raw)
    try:
        yield raw
    finally:
        undo()
        for handle in handles:
            handle.remove()


def _keep(raw: Raw, name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, inputs: Any, output: Any) -> None:
        raw[name], raw[f"{name}_inputs"] = output, inputs

    return hook


def _watch(model: Any, raw: Raw) -> Callable[[], None]:
    """Record the results of methods that OpenMMLab calls by name, which no module hook sees."""
    family = family_of_model(model)
    if parts.has_decode_cascade(model):
        return lambda: None
    if family == "query":
        return _watched(model.bbox_head, "get_targets", lambda output: queries.record_targets(raw, output))
    undo = ExitStack()
    if family == "segmentation":
        undo.callback(_watched(model.decode_head, "forward", lambda output: raw.update(head=output)))
        outputs = raw.setdefault(AUXILIARY, [])
        for head in auxiliary_heads(model):
            undo.callback(_watched(head, "forward", outputs.append))
    for name in ASSIGNED[family]:
        undo.callback(_watch_targets(_assigned_head(model, name), name, raw))
    if family == "two-stage":
        undo.callback(
            _watched(
                model.rpn_head, "loss_and_predict", lambda output: raw.update(proposals=_boxes(output[1]))
            )
        )
    return undo.close


def _assigned_head(model: Any, name: str) -> Any:
    if name == "roi":
        return parts.roi_parts(model)["roi_head"]
    return model.rpn_head if name == "rpn" else model.bbox_head


def _watch_targets(head: Any, name: str, raw: Raw) -> Callable[[], None]:
    """Record a head's targets."""

    def keep(output: Any) -> None:
        if name == "roi":
            raw["roi_training"] = RoiTraining(head, output, raw["extractor_inputs"][1])
        else:
            raw[f"{name}_training"] = DenseTraining(head, output, *raw[name][:2])

    return _watched(head, "get_targets", keep) if is_understood(head) else lambda: None


def _watched(head: Any, name: str, keep: Callable[[Any], None]) -> Callable[[], None]:
    """Pass what a method of a head returns to ``keep``; the returned function ends that."""
    original = getattr(head, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        keep(output)
        return output

    setattr(head, name, watched)
    return lambda: delattr(head, name)


def _boxes(results: Any) -> list[Tensor]:
    """Return the boxes with scores, (N, 5), of each image."""
    return [torch.cat([r.bboxes, r.scores[:, None]], dim=1).detach() for r in results]


def captures_of(model: Any, raw: Raw, names: frozenset[str]) -> Captures:
    """Return the named captures from a raw record.

    Raises:
        UserError: If the model has no such capture, or it would come from a cascade of decode heads.
    """
    parts.check_decode_cascade(model, names)
    family, raw = family_of_model(model), _InLayout(raw)
    return {name: _capture(model, raw, name, family) for name in names}


class _InLayout(Raw):
    """A raw record whose parts go through :func:`_gradient_in_layout` when they are first used."""

    def __init__(self, raw: Raw) -> None:
        super().__init__()
        self.raw = raw

    def __missing__(self, name: str) -> Any:
        return self.setdefault(name, _gradient_in_layout(self.raw[name]))

    def __contains__(self, name: object) -> bool:
        return name in self.raw

    def get(self, name: str, default: Any = None) -> Any:
        return default if name not in self.raw else self[name]


def _gradient_in_layout(value: Any) -> Any:
    """Replace each tensor of an output by a view whose gradient gets the tensor's own memory layout.

    A method's gradient may have another layout (that of transposed logits, say). Its sum with the task's gradient
    would have it too and select other kernels, and even a weight of 0 would change the last bits of the student.
    """
    if isinstance(value, tuple | list):
        return type(value)(_gradient_in_layout(part) for part in value)
    if not isinstance(value, Tensor) or not value.requires_grad:
        return value
    view, strides = value.view_as(value), value.stride()
    view.register_hook(lambda gradient: _laid_out(gradient, strides))  # type: ignore[no-untyped-call]
    return view


def _laid_out(gradient: Tensor | None, strides: tuple[int, ...]) -> Tensor | None:
    if gradient is None or gradient.stride() == strides:
        return gradient
    return torch.empty_strided(gradient.shape, strides, dtype=gradient.dtype, device=gradient.device).copy_(
        gradient
    )


def _capture(model: Any, raw: Raw, name: str, family: str) -> Any:
    if name == "backbone":
        return tuple(raw["backbone"])
    if family == "query" and name != "neck":
        return queries.capture(model, raw, name)
    if name == "assignments":
        return {head: _head_assignment(model, raw, head) for head in ASSIGNED[family]}
    if name.endswith("_targets"):
        return _head_assignment(model, raw, name.removesuffix("_targets"))
    if family == "segmentation":
        if name == "neck":
            return (raw["classifier_inputs"][0],)
        if name == AUXILIARY:
            return auxiliary_logits(model, raw[AUXILIARY])
        return raw["head"] if name == "pixel_logits" else Logits((raw["head"],), "softmax")
    if name in ("neck", "anchors", "box_levels"):
        maps = tuple(raw["neck"] if "neck" in raw else raw["backbone"])
        _check_finest_first(model, maps)
        if name == "box_levels":
            return _box_levels(model, family, maps)
        return maps if name == "neck" else _anchor_boxes(model, family, maps)
    if name == "head_boxes":
        return decoded_boxes(model.bbox_head, raw["head"][1])
    if name == "head_hidden":
        return hidden_maps(raw["head_hidden"])
    if family == "dense":
        _check_logits(model.bbox_head, raw["head"])
    if name in ("rpn", "head"):
        output = raw[name]
        return Predictions(tuple(output[0]), tuple(output[1]))
    if family == "dense":
        return _dense_logits(model.bbox_head, raw["head"][0])
    return _roi_capture(model, raw, name)


def _check_finest_first(model: Any, maps: Sequence[Tensor]) -> None:
    """Raise UserError unless the maps are in the order that all methods expect."""
    if any(one.shape[-1] < other.shape[-1] for one, other in pairwise(maps)):
        raise UserError(
            f"the maps of a {type(model).__name__} come coarsest first: choose a method that looks at the backbone "
            "alone, or another pair."
        )


def _check_logits(head: Any, output: Sequence[Any]) -> None:
    """Raise UserError if a dense head does not output class logits by themselves."""
    activated = getattr(getattr(head, "loss_cls", None), "activated", False)
    if len(output) < 2 or activated:
        given = "probabilities" if activated else "classes, boxes and objectness in one map a level"
        raise UserError(
            f"a {type(head).__name__} gives {given}, not class logits: choose a method that looks at the backbone "
            "or neck alone, or another pair."
        )


def _head_assignment(model: Any, raw: Raw, name: str) -> Assignment:
    """Return what a model predicts at the positions where the student's head was trained."""
    head, training = _assigned_head(model, name), raw.get(f"{name}_training")
    check_understood(head)
    if training is None:
        raise UserError(
            f"the student's {type(head).__name__} chose no targets in its step: choose another pair."
        )
    output = raw["roi_head"] if name == "roi" else raw[name]
    seen: Assignment = training.seen_by(head, *output[:2])
    return seen


def _roi_capture(model: Any, raw: Raw, name: str) -> Any:
    if name == "proposals":
        return raw["proposals"]
    if name == "rois":
        return raw["extractor_inputs"][1].detach()
    if name == "roi_features":
        return raw["extractor"]
    scores, boxes = raw["roi_head"][:2]
    if name == "roi_logits":
        return scores
    if name == "roi_boxes":
        return boxes
    return Logits((scores,), "softmax")


def _dense_logits(head: Any, scores: list[Tensor]) -> Logits:
    """Return the logits of each level, (B, C, A, H, W), from the head's (B, A * C, H, W)."""
    classes = head.cls_out_channels
    values = tuple(s.reshape(len(s), -1, classes, *s.shape[-2:]).transpose(1, 2) for s in scores)
    return Logits(values, "sigmoid" if head.use_sigmoid_cls else "softmax")


def _box_levels(model: Any, family: str, maps: tuple[Tensor, ...]) -> LevelsByScale | LevelsByAnchors:
    """Return how the model chooses the level of a box."""
    if family == "dense":
        return LevelsByAnchors(tuple(_anchor_boxes(model, family, maps)))
    extractor: Any = parts.roi_parts(model)["extractor"]
    if not hasattr(extractor, "finest_scale"):
        raise UserError(
            f"a {type(extractor).__name__} pools each RoI from several levels, so a box has no level of its own: "
            "choose a pair with a SingleRoIExtractor, or another variant of the method."
        )
    return LevelsByScale(len(extractor.featmap_strides), float(extractor.finest_scale))


def _anchor_boxes(model: Any, family: str, maps: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the head's own priors on the maps, as boxes."""
    head = model.rpn_head if family == "two-stage" else model.bbox_head
    priors = head.prior_generator.grid_priors([level.shape[-2:] for level in maps], device=maps[0].device)
    strides = head.prior_generator.strides
    return [p if p.shape[1] == 4 else _squares(p, s) for p, s in zip(priors, strides, strict=False)]


def _squares(points: Tensor, stride: Any) -> Tensor:
    width, height = stride if isinstance(stride, tuple) else (stride, stride)
    half = points.new_tensor([width, height]) * POINT_BOX_STRIDES / 2
    return torch.cat([points[:, :2] - half, points[:, :2] + half], dim=1)


@torch.no_grad()
def teacher_record(teacher: Any, inputs: Tensor, samples: Any, names: frozenset[str]) -> Raw:
    """Run the teacher on a batch and record the parts that do not depend on the student.

    Args:
        teacher: The teacher, in eval mode.
        inputs: (B, 3, H, W) images, normalised for the teacher.
        samples: Data samples, with each image's size within the padded batch.
        names: Requested captures.
    """
    parts.check_decode_cascade(teacher, names)
    with recording(teacher, names) as raw:
        if names <= {"proposals", "rois"}:
            pass
        elif names <= {"backbone", "proposals", "rois"}:
            teacher.backbone(inputs)
        else:
            raw["features"] = teacher.extract_feat(inputs)
            _run_head(teacher, raw["features"], samples, names)
    return raw


@torch.no_grad()
def teacher_view(teacher: Any, record: Raw, student: Raw, names: frozenset[str]) -> Captures:
    """Return the teacher's named captures of a batch, on one student's RoIs or in the order of its queries.

    Args:
        teacher: The teacher, in eval mode.
        record: Result of :func:`teacher_record` for these names, and maybe more; it is not changed.
        student: The student's raw record, with its proposals and RoIs, or its queries.
        names: Captures that the method requested.
    """
    family, raw = family_of_model(teacher), dict(record)
    if family == "two-stage" and names & AT_ROIS:
        with recording(teacher) as at_rois:
            parts.run_roi_head(teacher, record["features"], student["extractor_inputs"][1])
        raw |= at_rois
    if family == "query" and names & queries.AT_QUERIES:
        raw["order"] = queries.order_of(teacher, record, student)
    trainings = (f"{name}_training" for name in (*ASSIGNED[family], "query"))
    for shared in ("proposals", "extractor_inputs", *trainings):
        if shared in student:
            raw[shared] = student[shared]
    return captures_of(teacher, raw, names)


def _run_head(teacher: Any, features: Any, samples: Any, names: frozenset[str]) -> None:
    family = family_of_model(teacher)
    if family == "segmentation":
        teacher.decode_head(features)
        for head in auxiliary_heads(teacher) if AUXILIARY in names else ():
            head(features)
    elif family == "query":
        queries.run_transformer(teacher, features, samples, names)
    elif family == "dense":
        if names & AT_HEAD:
            with encoding_as_in_training(teacher.bbox_head):
                teacher.bbox_head(features)
    elif names & {"rpn", "rpn_targets", "assignments"}:
        teacher.rpn_head(features)
