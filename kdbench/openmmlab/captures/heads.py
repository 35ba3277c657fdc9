"""The inside of a dense head: its hidden maps, its last layers run on other maps, its boxes in pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.distill.captures import Hidden, Predictions
from kdbench.distill.losses import at_least_float32
from kdbench.errors import UserError
from kdbench.openmmlab.captures.assignments import check_understood, integral, stride_of_level, targets_class

BRANCHES = ("cls_convs", "reg_convs")
"""Names of a head's two stacks of convolutions."""


def hidden_layers(head: Any) -> list[list[nn.Module]]:
    """Return the modules of both branches whose outputs are a head's maps before each activation.

    Raises:
        UserError: If the head has no two stacks of equally many convolutions.
    """
    from mmcv.cnn import ConvModule

    branches = [
        [part for part in getattr(head, name, ()) if isinstance(part, ConvModule)] for name in BRANCHES
    ]
    if not branches[0] or len(branches[0]) != len(branches[1]):
        raise UserError(
            f"{type(head).__name__} has no classifying and regressing convolutions of equal number: choose a pair "
            "whose heads do, as RetinaNet's, GFL's and FCOS's."
        )
    return [[part.norm if part.with_norm else part.conv for part in branch] for branch in branches]


def keep_hidden(head: Any, keep: list[list[list[Tensor]]]) -> list[Any]:
    """Record copies of a head's hidden maps whenever it runs, since an activation may overwrite them.

    Args:
        head: The head.
        keep: Receives, for each branch and convolution, the maps of the levels as they are computed.

    Returns:
        The handles of the hooks.
    """

    def hook(kept: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _inputs, output: kept.append(output.clone())

    handles = []
    for layers in hidden_layers(head):
        keep.append([[] for _ in layers])
        handles += [
            part.register_forward_hook(hook(kept)) for part, kept in zip(layers, keep[-1], strict=True)
        ]
    return handles


def hidden_maps(kept: list[list[list[Tensor]]]) -> Hidden:
    """Arrange what :func:`keep_hidden` kept by convolution, level and branch."""
    classes, boxes = kept
    return tuple(tuple(zip(*both, strict=True)) for both in zip(classes, boxes, strict=True))


class _Pick(nn.Module):
    """Takes one of the two maps of a level."""

    def __init__(self, branch: int) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, both: Sequence[Tensor]) -> Tensor:
        return both[self.branch]


def tail(head: Any, hidden: Sequence[Sequence[Tensor]], after: int) -> Predictions:
    """Run a frozen head's last layers on hidden maps; gradients reach the maps.

    Args:
        head: The teacher's head, in eval mode.
        hidden: For each level the maps of the classifying and the regressing branch, (B, C, H_i, W_i) each, after
            the norm of a convolution and before its activation.
        after: Number of this convolution, counted from 1.

    Raises:
        UserError: If the head has no such convolution.
    """
    depth = len(hidden_layers(head)[0])
    if not 1 <= after <= depth:
        raise UserError(f"the teacher's head has {depth} convolutions in a branch: take at=1 to at={depth}")
    activations = [getattr(head, name)[after - 1].activate for name in BRANCHES]
    levels = tuple(
        tuple(act(maps.clone()) for act, maps in zip(activations, both, strict=True)) for both in hidden
    )
    with _cut(head, after), encoding_as_in_training(head):
        output = head(levels)
    return Predictions(tuple(output[0]), tuple(output[1]))


@contextmanager
def _cut(head: Any, after: int) -> Iterator[None]:
    """Let a head begin after a convolution, each branch with its own map."""
    whole = {name: getattr(head, name) for name in BRANCHES}
    for branch, (name, convolutions) in enumerate(whole.items()):
        setattr(head, name, nn.ModuleList([_Pick(branch), *convolutions[after:]]))
    try:
        yield
    finally:
        for name, convolutions in whole.items():
            setattr(head, name, convolutions)


@contextmanager
def encoding_as_in_training(head: nn.Module) -> Iterator[None]:
    """Let a head (FCOS with ``norm_on_bbox``) encode its boxes as in training, its layers staying in eval mode."""
    head.training = True
    try:
        yield
    finally:
        head.training = False


def decoded_boxes(head: Any, boxes: Sequence[Tensor]) -> list[Tensor]:
    """Decode a head's boxes at every position.

    Args:
        head: The head.
        boxes: (B, A * width, H_i, W_i) of each level, as in training.

    Returns:
        For each level (B, H_i * W_i * A, 4) x1, y1, x2, y2 in input pixels, in at least float32, with gradients.

    Raises:
        UserError: If the head's encoding is unknown.
    """
    check_understood(head)
    priors = head.prior_generator.grid_priors([level.shape[-2:] for level in boxes], device=boxes[0].device)
    with torch.autocast(boxes[0].device.type, enabled=False):
        return [
            _decoded(head, at_least_float32(level), prior, stride_of_level(head, index))
            for index, (level, prior) in enumerate(zip(boxes, priors, strict=True))
        ]


def _decoded(head: Any, boxes: Tensor, priors: Tensor, stride: float) -> Tensor:
    """Return one level's boxes, (B, n, 4)."""
    kind, images = targets_class(head), len(boxes)
    rows = boxes.permute(0, 2, 3, 1).reshape(images * len(priors), -1)
    if kind == "AnchorHead":
        decoded: Tensor = head.bbox_coder.decode(priors.repeat(images, 1), rows)
        return decoded.view(images, -1, 4)
    if kind == "GFLHead":
        centres, distances = head.anchor_center(priors), integral(head, rows) * stride
    else:
        centres, distances = priors, rows * stride if head.norm_on_bbox else rows
    low, high = torch.split(distances.view(images, -1, 4), 2, dim=2)
    return torch.cat([centres - low, centres + high], dim=2)
