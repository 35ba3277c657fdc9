"""mmdet's samplers on a whole batch: the assigned anchors or proposals that a head is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.task_modules.samplers import PseudoSampler, RandomSampler
from torch import Tensor

from kdbench.openmmlab.batched.transfer import to_device


@dataclass(frozen=True)
class Chosen:
    """The samples of a batch.

    Attributes:
        positive: (B, N) mask of the positive samples.
        negative: (B, N) mask of the negative samples.
        positives: Number of positive samples in each image.
        negatives: Number of negative samples in each image.
    """

    positive: Tensor
    negative: Tensor
    positives: list[int]
    negatives: list[int]

    def average(self, *, with_negatives: bool) -> int:
        """Return mmdet's divisor of a head's loss: each image counts at least 1 for either kind."""
        total = sum(max(count, 1) for count in self.positives)
        return total + sum(max(count, 1) for count in self.negatives) * with_negatives


def covers_sampler(sampler: Any) -> bool:
    """Whether a sampler is covered here."""
    return type(sampler) in (PseudoSampler, RandomSampler)


def choose(sampler: Any, assigned: Tensor) -> Chosen:
    """Sample from the assigned (B, N) as mmdet's sampler does, drawing random numbers image by image."""
    positive, negative = assigned > 0, assigned == 0
    both = torch.stack([positive, negative])
    positives, negatives = both.sum(2).tolist()  # the only wait of the host
    if type(sampler) is PseudoSampler:
        return Chosen(positive, negative, positives, negatives)
    kept = [_draw(sampler, *counts) for counts in zip(positives, negatives, strict=True)]
    taken = [[int(rows.sum()) for rows in kind] for kind in zip(*kept, strict=True)]
    if taken != [positives, negatives]:
        both &= _at_ranks([rows for kind in zip(*kept, strict=True) for rows in kind], both)
    return Chosen(both[0], both[1], taken[0], taken[1])


def _draw(sampler: Any, positives: int, negatives: int) -> tuple[Tensor, Tensor]:
    """Draw which of an image's positives and negatives are kept."""
    kept = _some(positives, int(sampler.num * sampler.pos_fraction))
    count = int(kept.sum())
    left = sampler.num - count
    if sampler.neg_pos_ub >= 0:
        left = min(left, int(sampler.neg_pos_ub * max(1, count)))
    return kept, _some(negatives, left)


def _some(count: int, wanted: int) -> Tensor:
    """Draw as many as are wanted, or all, as mmdet does; return the mask (count,)."""
    if count <= wanted:
        return torch.ones(count, dtype=torch.bool)
    kept = torch.zeros(count, dtype=torch.bool)
    kept[torch.randperm(count)[:wanted]] = True
    return kept


def _at_ranks(kept: list[Tensor], masks: Tensor) -> Tensor:
    """Return the masks (2, B, N) of what is kept, given which of the 1st, 2nd, ... entries of each mask are."""
    rows = torch.nn.utils.rnn.pad_sequence(kept, batch_first=True)
    (moved,) = to_device([rows], masks.device)
    ranks = (masks.flatten(0, 1).cumsum(1) - 1).clamp(min=0, max=moved.shape[1] - 1)
    return moved.gather(1, ranks).view(masks.shape)
