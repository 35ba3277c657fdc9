"""Normalisers and rows in a distributed run: k processes with n images equal one process with k n images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, distributed
from two_processes import in_two

from kdbench.distill import Targets, gathered, mean_square, reduced

SIZES = ((64, 33), (17, 96))
IMAGE = (64, 96)


def maps() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 3, 8, 12, generator=generator) for _ in range(2))
    return student.requires_grad_(), teacher


def masked_loss(student: Tensor, teacher: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
    (cells,) = Targets((), (), None, IMAGE, sizes=sizes).valid([teacher])
    return mean_square(student, teacher, cells)


def seen() -> dict[str, object]:
    """Return the values in one of two processes, each of which has one of two images."""
    rank = distributed.get_rank()
    student, teacher = maps()
    loss = masked_loss(student[rank : rank + 1], teacher[rank : rank + 1], SIZES[rank : rank + 1])
    loss.backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    distributed.all_reduce(student.grad)
    return {
        "counts": [reduced(torch.tensor(count)).item() for count in ((3, 8)[rank], (0.0, 0.5)[rank])],
        "rows": gathered(torch.full((rank + 1, 2), float(rank))).tolist(),
        "no rows": gathered(torch.zeros(0, 2)).tolist(),
        "gradient": (student.grad / 2).tolist(),
    }


def test_alone_a_count_is_at_least_1_and_rows_are_the_own() -> None:
    assert reduced(torch.tensor(0)).item() == 1
    assert reduced(torch.tensor(7)).item() == 7
    rows = torch.ones(2, 3, requires_grad=True)
    assert torch.equal(gathered(rows), rows)
    assert not gathered(rows).requires_grad


def test_two_processes_equal_one_with_all_images(tmp_path) -> None:
    found = in_two("test_processes:seen", tmp_path, Path(__file__).parent)
    student, teacher = maps()
    masked_loss(student, teacher, SIZES).backward()  # type: ignore[no-untyped-call]
    for process in found:
        assert process["counts"] == [5.5, 0.5]
        assert process["rows"] == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
        assert process["no rows"] == []
        torch.testing.assert_close(torch.tensor(process["gradient"]), student.grad)
