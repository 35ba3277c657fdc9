"""mmdet's RoI and box heads with the proposals of a batch assigned and sampled at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

import torch
from mmdet.models import roi_heads
from mmdet.models.roi_heads import bbox_heads as mmdet_bbox_heads
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.models.task_modules.samplers import RandomSampler, SamplingResult
from mmdet.models.utils import unpack_gt_instances
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kdbench.devices import CPU
from kdbench.openmmlab.batched.assigning import Truth, covers_assigner, max_iou, truth_of
from kdbench.openmmlab.batched.choosing import choose
from kdbench.openmmlab.batched.heads import LARGEST
from kdbench.openmmlab.batched.transfer import to_device


class StandardRoIHead(roi_heads.StandardRoIHead):  # type: ignore[misc]
    """The second stage of Faster R-CNN."""

    def loss(self, x: Any, rpn_results_list: Any, batch_data_samples: Any) -> dict[str, Tensor]:
        """Compute the losses and the accuracy on sampled proposals."""
        boxes = [results.bboxes for results in rpn_results_list]
        instances, _, _ = unpack_gt_instances(batch_data_samples)
        if boxes[0].device.type == CPU or not self.is_covered(boxes, instances):
            losses: dict[str, Tensor] = super().loss(x, rpn_results_list, batch_data_samples)
            return losses
        for results in rpn_results_list:
            results.priors = results.pop("bboxes")
        losses = self.bbox_loss(x, self.sampled_at_once(boxes, instances))["loss_bbox"]
        return dict(losses)

    def is_covered(self, boxes: list[Tensor], instances: Any) -> bool:
        """Whether the options and the size of the batch are covered."""
        pairs = len(boxes) * max(map(len, boxes)) * max(len(each.bboxes) for each in instances)
        return (
            type(self.bbox_assigner) is MaxIoUAssigner
            and covers_assigner(self.bbox_assigner)
            and type(self.bbox_sampler) is RandomSampler
            and not self.with_mask
            and isinstance(boxes[0], Tensor)
            and 0 < pairs <= LARGEST
        )

    def sampled_at_once(self, boxes: list[Tensor], instances: Any) -> list[SamplingResult]:
        """Return what mmdet's assigner and sampler return for each image."""
        truth, priors = truth_of(instances), pad_sequence(boxes, batch_first=True)
        assigned = max_iou(self.bbox_assigner, priors, truth, _real(boxes))
        columns = truth.boxes.shape[1]
        if self.bbox_sampler.add_gt_as_proposals:
            own = torch.arange(1, columns + 1, device=assigned.device)
            assigned = torch.cat([torch.where(truth.real, own, -1), assigned], dim=1)
            priors = torch.cat([truth.boxes, priors], dim=1)
        else:
            columns = 0
        chosen = choose(self.bbox_sampler, assigned)
        positive = row_numbers(chosen.positive, sum(chosen.positives))
        negative = row_numbers(chosen.negative, sum(chosen.negatives))
        parts = _positives(truth, priors, assigned, positive, columns)
        split = [torch.split(part, chosen.positives) for part in parts]
        rest = torch.split(priors.flatten(0, 1)[negative], chosen.negatives)
        each = zip(zip(*split, strict=True), rest, truth.counts, strict=True)
        return [_result(of_image, others, count) for of_image, others, count in each]


def row_numbers(mask: Tensor, count: int) -> Tensor:
    """Return the row numbers (count,) of a flattened mask, in order; since their count is known, nothing waits."""
    ranks = torch.arange(1, count + 1, device=mask.device)
    return torch.searchsorted(mask.flatten().cumsum(0), ranks)


def _real(boxes: list[Tensor]) -> Tensor | None:
    """Return which of the padded proposals are real, (B, N); None if all are."""
    counts = [len(each) for each in boxes]
    if min(counts) == max(counts):
        return None
    (known,) = to_device([torch.tensor(counts)], boxes[0].device)
    return torch.arange(max(counts), device=known.device) < known[:, None]


def _positives(
    truth: Truth, priors: Tensor, assigned: Tensor, rows: Tensor, columns: int
) -> tuple[Tensor, ...]:
    """Return for the positive rows: box, whether it is a ground-truth box, index, label and box of its truth."""
    images = rows // priors.shape[1]
    which = assigned.flatten()[rows] - 1
    flat = images * truth.boxes.shape[1] + which
    given = (rows % priors.shape[1] < columns).to(torch.uint8)
    return (
        priors.flatten(0, 1)[rows],
        given,
        which,
        truth.labels.flatten()[flat],
        truth.boxes.flatten(0, 1)[flat],
    )


def _result(positives: tuple[Tensor, ...], rest: Tensor, count: int) -> SamplingResult:
    """Make mmdet's result without the indices of the samples, which the box head does not use."""
    boxes, given, which, labels, truth = positives
    made = SamplingResult.__new__(SamplingResult)
    made.pos_priors, made.neg_priors, made.pos_is_gt = boxes, rest, given
    made.pos_assigned_gt_inds, made.pos_gt_labels, made.pos_gt_bboxes = which, labels, truth
    made.num_pos, made.num_neg, made.num_gts = max(len(boxes), 1), max(len(rest), 1), count
    made.avg_factor_with_neg, made.avg_factor = True, made.num_pos + made.num_neg
    return made


class Shared2FCBBoxHead(mmdet_bbox_heads.Shared2FCBBoxHead):  # type: ignore[misc]
    """The box head of Faster R-CNN."""

    @wraps(mmdet_bbox_heads.BBoxHead.get_targets)
    def get_targets(self, sampling_results: Any, rcnn_train_cfg: Any, concat: bool = True) -> Any:
        """Return labels, their weights, boxes and their weights for the samples of all images."""
        if not concat or sampling_results[0].pos_priors.device.type == CPU:
            return super().get_targets(sampling_results, rcnn_train_cfg, concat)
        return self.targets_at_once(sampling_results, rcnn_train_cfg)

    def targets_at_once(self, results: Sequence[Any], options: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what ``get_targets`` returns: positives before negatives, image by image."""
        counts = [(len(each.pos_priors), len(each.neg_priors)) for each in results]
        priors = torch.cat([each.pos_priors for each in results])
        boxes = torch.cat([each.pos_gt_bboxes for each in results])
        if not self.reg_decoded_bbox:
            boxes = self.bbox_coder.encode(priors, boxes)
        most = max(max(each) for each in counts)
        background = torch.full((most,), self.num_classes, device=priors.device)
        ones, zeros = priors.new_ones(most, boxes.shape[1]), priors.new_zeros(most, boxes.shape[1])
        weight = 1.0 if options.pos_weight <= 0 else options.pos_weight
        labels = torch.cat([each.pos_gt_labels for each in results])
        return (
            _interleaved(labels, background, counts),
            _interleaved(ones[:, 0] * weight, ones[:, 0], counts, again=True),
            _interleaved(boxes, zeros, counts),
            _interleaved(ones, zeros, counts, again=True),
        )


def _interleaved(
    positive: Tensor, negative: Tensor, counts: Sequence[tuple[int, int]], *, again: bool = False
) -> Tensor:
    """Take each image's number of rows of both, positive ones first.

    Args:
        positive: (P, ...) rows of all images.
        negative: (N, ...) rows that are the same for each image.
        counts: Positive and negative rows of each image.
        again: Take the first rows of ``positive`` too for each image.
    """
    start, parts = 0, []
    for first, second in counts:
        parts += [positive[start : start + first], negative[:second]]
        start += 0 if again else first
    return torch.cat(parts)
