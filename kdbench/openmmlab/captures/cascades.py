"""Cascades of heads: the stage of a detector's that methods look into, and segmentors', which they cannot."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kdbench.errors import UserError


def look_into(model: Any, stage: int) -> None:
    """Choose the stage of a cascade of RoI heads that methods see from now on.

    Args:
        model: A built model.
        stage: Counted from 1, which sees the proposals as the RoI head of any two-stage model does.

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
    """Return the stages of a part that may be a cascade; the one part itself where it is none."""
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def roi_parts(model: Any) -> dict[str, nn.Module]:
    """Return the RoI extractor and the head behind it: of a cascade those of the stage that methods see."""
    head = model.roi_head
    stage = getattr(head, "seen_stage", 0)
    return {
        "extractor": stages_of(head.bbox_roi_extractor)[stage],
        "roi_head": stages_of(head.bbox_head)[stage],
    }


def run_roi_head(model: Any, features: Any, rois: Tensor) -> None:
    """Run the RoI head, of a cascade the stage that methods see, on RoIs (R, 5)."""
    head = model.roi_head
    stage = (getattr(head, "seen_stage", 0),) * isinstance(head.bbox_head, nn.ModuleList)
    head._bbox_forward(*stage, features, rois)


def has_cascade(model: Any) -> bool:
    """Whether a model is a segmentor with several heads in a row (OCRNet, PointRend)."""
    return isinstance(getattr(model, "decode_head", None), nn.ModuleList)


def check_cascade(model: Any, names: frozenset[str]) -> None:
    """Raise UserError if captures are asked for that come from a segmentor's cascade, which has no one output."""
    if has_cascade(model) and not names <= {"backbone"}:
        asked = ", ".join(sorted(names - {"backbone"}))
        raise UserError(
            f"{type(model).__name__} has a cascade of heads, which methods cannot look into ({asked}): choose "
            "another model, or a method that needs only backbone."
        )
