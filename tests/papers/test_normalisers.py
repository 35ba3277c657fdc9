"""k processes with n images have the gradient of one with k n, since normalisers count over all processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, distributed
from two_processes import in_two

from kdbench.distill import Logits

Loss = Callable[[Tensor, Tensor, int], Tensor]
"""Function of student and teacher (N, 3, 4, 6) and the index of the first image that returns a loss."""


def mask(first: int, count: int) -> Tensor:
    """Return a mask in which image 0 has 2 cells and image 1 has 13."""
    cells = torch.zeros(2, 4, 6, dtype=torch.bool)
    cells[0, 0, :2], cells[1].view(-1)[:13] = True, True
    return cells[first : first + count]


def rows(maps: Tensor) -> Tensor:
    return maps.movedim(1, -1).flatten(0, 2)


def losses() -> dict[str, Loss]:
    from kdbench_papers.chen.losses import weighted_sigmoid_cross_entropy
    from kdbench_papers.fine_grained.losses import imitation_loss
    from kdbench_papers.hinton.losses import logits_loss

    def foreground(ours: Tensor, theirs: Tensor, first: int) -> Tensor:
        head = [Logits((part.unsqueeze(2),), "sigmoid") for part in (ours, theirs)]
        return logits_loss(head[0], head[1], 1.0)

    def masked(ours: Tensor, theirs: Tensor, first: int) -> Tensor:
        pixels = [Logits((part,), "softmax") for part in (ours, theirs)]
        return logits_loss(pixels[0], pixels[1], 1.0, valid=[mask(first, len(ours))])

    return {
        "fine-grained": lambda ours, theirs, first: imitation_loss(ours, theirs, mask(first, len(ours))),
        "hinton, foreground": foreground,
        "hinton, valid cells": masked,
        "chen": lambda ours, theirs, first: weighted_sigmoid_cross_entropy(rows(ours), rows(theirs)),
    }


def maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 3, 4, 6, generator=generator) for _ in range(2))
    teacher[0] -= 3  # little foreground
    return student.requires_grad_(), teacher


def seen() -> dict[str, list[float]]:
    """Return the averaged gradients of two processes with one image each."""
    found, rank = {}, distributed.get_rank()
    for name, loss in losses().items():
        student, teacher = maps()
        loss(student[rank : rank + 1], teacher[rank : rank + 1], rank).backward()  # type: ignore[no-untyped-call]
        assert student.grad is not None
        distributed.all_reduce(student.grad)
        found[name] = (student.grad / 2).flatten().tolist()
    return found


def test_two_processes_equal_one_with_all_images(tmp_path: Path) -> None:
    found = in_two("test_normalisers:seen", tmp_path, Path(__file__).parent)
    for name, loss in losses().items():
        student, teacher = maps()
        loss(student, teacher, 0).backward()  # type: ignore[no-untyped-call]
        assert student.grad is not None
        for process in found:
            torch.testing.assert_close(torch.tensor(process[name]), student.grad.flatten(), msg=name)
