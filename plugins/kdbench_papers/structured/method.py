"""Pixel-wise, pair-wise and holistic distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from kdbench.api import Method, Shapes, Step, UserError, resized
from kdbench_papers.structured.card import StructuredOptions
from kdbench_papers.structured.critic import Critic
from kdbench_papers.structured.local import local_pair_loss
from kdbench_papers.structured.losses import (
    adversarial_loss,
    cosines_to,
    critic_loss,
    pair_wise_loss,
    pixel_wise_loss,
)

IMAGE_CHANNELS = 3
MAPS = frozenset({"pair", "local"})
"""Terms on the neck's maps."""


class Structured(Method[StructuredOptions]):
    """Pixel-wise, pair-wise, local and holistic terms, as named by the variant."""

    def __init__(self, options: StructuredOptions) -> None:
        super().__init__(options)
        self.critic: Critic | None = None
        self.terms = frozenset(self.options.variant.split("+"))

    def needs(self) -> tuple[str, ...]:
        """Return the neck for pairs, and the pixels' logits for the other terms."""
        return ("neck",) * bool(self.terms & MAPS) + ("pixel_logits",) * bool(self.terms - MAPS)

    def build(self, shapes: Shapes) -> None:
        """Check that the maps can be compared, and create the critic."""
        if self.terms & MAPS:
            shapes.levels("neck")
        if self.terms <= MAPS:
            return
        ((student, teacher),) = shapes.levels("pixel_logits")
        if student[1] != teacher[1]:
            raise UserError(
                f"the student's logits {student} and the teacher's {teacher} have different classes: "
                "choose a pair whose models have the same."
            )
        if "holistic" in self.terms:
            self.critic = Critic(teacher[1] + IMAGE_CHANNELS, spectral=self.options.spectral_norm)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the weighted terms."""
        options, terms = self.options, {}
        if "pixel" in self.terms:
            (cells,) = step.targets.valid([step.teacher["pixel_logits"]])
            terms["pixel"] = options.weight * pixel_wise_loss(*_logits(step), cells)
        if "pair" in self.terms:
            terms["pair"] = options.weight * self._pair(step)
        if "local" in self.terms:
            terms["local"] = options.weight * self._local(step)
        if self.critic is not None:
            student, _ = _logits(step)
            terms["holistic"] = options.adversarial_weight * adversarial_loss(
                self.critic, student, step.images
            )
        return terms

    def adversary(self) -> nn.Module | None:
        """Return the critic."""
        return self.critic

    def adversary_losses(self, step: Step) -> dict[str, Tensor]:
        """Return the critic's loss."""
        assert self.critic is not None
        loss = critic_loss(self.critic, *_logits(step), step.images, generator=step.generator)
        return {"critic": loss}

    def adversary_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        """Return the optimizer of the released code."""
        return SGD(parameters, lr=self.options.critic_lr, momentum=0.9, weight_decay=1e-4)

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return, for pairs, the cosine of every position with the centre of the finest map, scaled to [0, 1]."""
        if "pair" not in self.terms:
            return {}
        maps = {"student": step.student["neck"][0], "teacher": step.teacher["neck"][0]}
        return {
            f"{who}, similarity to the centre": (1 + cosines_to(each.detach(), *_centre(each))) / 2
            for who, each in maps.items()
        }

    def _local(self, step: Step) -> Tensor:
        """Return the mean local pair loss over the levels."""
        maps = step.teacher["neck"]
        levels = zip(step.student["neck"], maps, step.targets.valid(maps), strict=True)
        losses = [local_pair_loss(resized(ours, theirs), theirs, cells) for ours, theirs, cells in levels]
        return torch.stack(losses).mean()

    def _pair(self, step: Step) -> Tensor:
        """Return the mean pair-wise loss over the levels."""
        nodes = None if self.options.nodes is None else (self.options.nodes, self.options.nodes)
        maps = step.teacher["neck"]
        levels = zip(step.student["neck"], maps, step.targets.valid(maps), strict=True)
        losses = []
        for ours, theirs, cells in levels:
            same_nodes = nodes is not None and cells is None  # maps of any size have the same nodes
            losses.append(pair_wise_loss(ours if same_nodes else resized(ours, theirs), theirs, nodes, cells))
        return torch.stack(losses).mean()


def _centre(features: Tensor) -> tuple[int, int]:
    """Return row and column of the centre."""
    return features.shape[-2] // 2, features.shape[-1] // 2


def _logits(step: Step) -> tuple[Tensor, Tensor]:
    """Return the student's and the teacher's logits (B, C, H, W), at the teacher's size."""
    teacher: Tensor = step.teacher["pixel_logits"]
    return resized(step.student["pixel_logits"], teacher), teacher
