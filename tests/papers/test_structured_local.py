"""The cosines of neighbouring cells, compared with a loop over all pairs."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kdbench_papers.structured.local import local_pair_loss


def neighbours(height: int, width: int) -> list[tuple[int, int, int, int]]:
    cells = [(y, x) for y in range(height) for x in range(width)]
    return [
        (y, x, v, u)
        for y, x in cells
        for v, u in cells
        if max(abs(y - v), abs(x - u)) == 1 and (y, x) < (v, u)
    ]


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_mean_over_all_neighbouring_pairs(masked: bool) -> None:
    student, teacher = torch.randn(2, 3, 4, 5).double().requires_grad_(), torch.randn(2, 6, 4, 5).double()
    cells = torch.rand(2, 4, 5) < 0.7 if masked else torch.ones(2, 4, 5, dtype=torch.bool)
    squares = []
    for image in range(2):
        for y, x, v, u in neighbours(4, 5):
            if cells[image, y, x] and cells[image, v, u]:
                a, b = (
                    functional.cosine_similarity(part[image, :, y, x], part[image, :, v, u], dim=0)
                    for part in (student, teacher)
                )
                squares.append((a - b).square())
    value = local_pair_loss(student, teacher, cells if masked else None)
    torch.testing.assert_close(value, torch.stack(squares).mean())
    value.backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert student.grad.any()


def test_one_cell_has_no_pairs_and_other_sizes_are_refused() -> None:
    assert local_pair_loss(torch.randn(2, 3, 1, 1), torch.randn(2, 3, 1, 1)).item() == 0
    with pytest.raises(ValueError, match="differ in images or size"):
        local_pair_loss(torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 5))
