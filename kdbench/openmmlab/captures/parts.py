"""The parts of a built model: its family, the modules that captures come from, cascades and auxiliary heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from kdbench.errors import UserError
from kdbench.specs import Family

Raw = dict[str, Any]
"""Record of a forward pass: inputs and outputs of a model's parts, by name."""

AUXILIARY = "auxiliary_logits"
"""Capture of a segmentation model's auxiliary heads."""


def family_of_model(model: nn.Module) -> Family:
    """Return the family of a built model, one of :data:`kdbench.distill.captures.FAMILIES`."""
    if hasattr(model, "decode_head"):
        return "segmentation"
    if getattr(model, "decoder", None) is not None:
        return "query"
    return "two-stage" if getattr(model, "roi_head", None) is not None else "dense"


def parts_of(model: Any) -> dict[str, nn.Module]:
    """Return the modules whose inputs and outputs are recorded, by their names in the record."""
    parts: dict[str, nn.Module | None] = {"backbone": model.backbone, "neck": getattr(model, "neck", None)}
    family = family_of_model(model)
    if family == "segmentation":
        head = model.decode_head
        dropout = getattr(head, "dropout", None)
        parts["classifier"] = dropout if dropout is not None else getattr(head, "conv_seg", head)
    elif family == "dense":
        parts |= {"head": model.bbox_head}
    elif family == "query":
        parts |= {"encoder": model.encoder}
    else:
        parts |= {"rpn": model.rpn_head, **roi_parts(model)}
    return {name: part for name, part in parts.items() if part is not None}


def select_roi_stage(model: Any, stage: int) -> None:
    """Choose the stage of a cascade of RoI heads that methods see.

    Args:
        model: A built model.
        stage: Counted from 1, the stage that sees the proposals, as a plain two-stage model's RoI head does.

    Raises:
        UserError: If the model has no such stage.
    """
    if stage == 1:
        return
    if getattr(model, "roi_head", None) is None:
        raise UserError(f"a {type(model).__name__} has no cascade of RoI heads: leave roi_stage {stage} out.")
    count = len(stages_of(model.roi_head.bbox_head))
    if stage > count:
        heads = f"{count} RoI head{'s' * (count > 1)}"
        raise UserError(f"a {type(model).__name__} has {heads}: roi_stage {stage} is none of them.")
    model.roi_head.seen_stage = stage - 1


def stages_of(part: Any) -> list[Any]:
    """Return the stages of a cascade, or the part itself where it is none."""
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def roi_parts(model: Any) -> dict[str, nn.Module]:
    """Return the RoI extractor and the head behind it; of a cascade, those of the selected stage."""
    head = model.roi_head
    stage = getattr(head, "seen_stage", 0)
    return {
        "extractor": stages_of(head.bbox_roi_extractor)[stage],
        "roi_head": stages_of(head.bbox_head)[stage],
    }


def run_roi_head(model: Any, features: Any, rois: Tensor) -> None:
    """Run the RoI head, of a cascade its selected stage, on RoIs (R, 5)."""
    head = model.roi_head
    stage = (getattr(head, "seen_stage", 0),) * isinstance(head.bbox_head, nn.ModuleList)
    head._bbox_forward(*stage, features, rois)


def has_decode_cascade(model: Any) -> bool:
    """Whether a segmentation model has several decode heads in a row (OCRNet, PointRend)."""
    return isinstance(getattr(model, "decode_head", None), nn.ModuleList)


def check_decode_cascade(model: Any, names: frozenset[str]) -> None:
    """Raise UserError if captures of a cascade of decode heads are requested: it has no single output."""
    if has_decode_cascade(model) and not names <= {"backbone"}:
        asked = ", ".join(sorted(names - {"backbone"}))
        raise UserError(
            f"{type(model).__name__} has a cascade of heads, which methods cannot look into ({asked}): choose "
            "another model, or a method that needs only backbone."
        )


def auxiliary_heads(model: Any) -> list[Any]:
    """Return the auxiliary heads, in their order: they train beside the decode head and predict nothing."""
    heads = getattr(model, "auxiliary_head", None)
    return [] if heads is None else stages_of(heads)


def auxiliary_logits(model: Any, outputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the logits of each auxiliary head, (B, C, H, W).

    Args:
        model: The model.
        outputs: The outputs of its auxiliary heads.

    Raises:
        UserError: If it has no auxiliary head.
    """
    if not outputs:
        raise UserError(
            f"this {type(model).__name__} has no auxiliary head: choose a pair whose models have one, or leave out "
            "the method's option for it."
        )
    return tuple(outputs)


def check_auxiliary(names: frozenset[str], missed: Mapping[str, str]) -> None:
    """Refuse a teacher with random auxiliary heads if a method uses them.

    Args:
        names: Captures that the method uses.
        missed: Weights that the teacher's checkpoint lacks, as
            :func:`kdbench.openmmlab.weights.checkpoints.load_weights` returns them.

    Raises:
        UserError: If the checkpoint lacks any weight of an auxiliary head.
    """
    absent = [name for name in missed if name.startswith("auxiliary_head")]
    if AUXILIARY in names and absent:
        raise UserError(
            f"the teacher's checkpoint lacks weights of its auxiliary head ({absent[0]}), which the method looks "
            "at: give another one, or none to have the teacher trained, or leave out the method's option for it."
        )
