import pytest
import torch
import torchvision

from kdbench.openmmlab.ops.boxes import bbox_overlaps

FIRST = torch.tensor([[0.0, 0, 9, 9], [5, 5, 9, 9], [0, 0, 0, 0]])
SECOND = torch.tensor([[0.0, 0, 9, 4], [20, 20, 30, 30], [0, 0, 0, 0]])


def overlaps(mode=0, aligned=False, offset=0, dtype=torch.float32):
    result = torch.full((3,) if aligned else (3, 3), torch.nan, dtype=dtype)
    bbox_overlaps(FIRST.to(dtype), SECOND.to(dtype), result, mode=mode, aligned=aligned, offset=offset)
    return result


def test_iou_is_torchvisions():
    expected = torchvision.ops.box_iou(FIRST, SECOND)
    assert torch.allclose(overlaps()[:2, :2], expected[:2, :2])


@pytest.mark.parametrize(
    ("mode", "offset", "value"), [(0, 0, 36 / 81), (0, 1, 0.5), (1, 0, 36 / 81), (1, 1, 0.5)]
)
def test_by_hand(mode, offset, value):
    assert overlaps(mode, offset=offset)[0, 0].item() == pytest.approx(value)
    assert overlaps(mode, offset=offset, dtype=torch.float16)[0, 0].item() == pytest.approx(value, rel=1e-3)


def test_aligned_is_the_diagonal():
    torch.testing.assert_close(overlaps(aligned=True, offset=1), overlaps(offset=1).diagonal())


def test_a_box_of_one_pixel_covers_itself():
    assert overlaps(offset=1)[2, 2] == 1
