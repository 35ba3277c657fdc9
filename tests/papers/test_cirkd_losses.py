from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from kdbench_papers.cirkd import losses
from kdbench_papers.cirkd.losses import Memory, cross_image_loss, memory_loss


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_batch_term_equals_its_definition():
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(3, 2, 2, 3)), draw.normal(size=(3, 4, 2, 3))
    directions = [unit(part.transpose(0, 2, 3, 1).reshape(3, 6, -1)) for part in (ours, theirs)]
    total = 0.0
    for i in range(3):
        for j in range(3):
            q, p = (softmax(part[i] @ part[j].T / 0.2, axis=1) for part in directions)
            total += entropy(p, q, axis=1).mean() / 9
    value = cross_image_loss(torch.from_numpy(ours), torch.from_numpy(theirs), 0.2)
    assert value.item() == pytest.approx(total)


def test_turning_either_models_channels_changes_nothing():
    student, teacher = torch.randn(2, 4, 3, 3).double(), torch.randn(2, 5, 3, 3).double()
    turns = [torch.linalg.qr(torch.randn(n, n).double())[0] for n in (4, 5)]
    turned = [
        torch.einsum("dc,nchw->ndhw", turn, maps)
        for turn, maps in zip(turns, (student, teacher), strict=True)
    ]
    torch.testing.assert_close(cross_image_loss(*turned), cross_image_loss(student, teacher))


def test_large_maps_are_pooled(monkeypatch):
    monkeypatch.setattr(losses, "LARGE", 8)
    student, teacher = torch.randn(1, 2, 8, 12), torch.randn(1, 3, 8, 12)
    pooled = [torch.nn.functional.avg_pool2d(maps, 4) for maps in (student, teacher)]
    torch.testing.assert_close(cross_image_loss(student, teacher), cross_image_loss(*pooled))
    with pytest.raises(ValueError, match="1 images, teacher 2"):
        cross_image_loss(student, torch.randn(2, 3, 8, 12))


@pytest.mark.parametrize("largest", [1, 21, 1 << 24])
def test_the_memory_term_equals_its_definition_in_parts_of_any_size(monkeypatch, largest):
    monkeypatch.setattr(losses, "LARGEST", largest)
    draw = np.random.default_rng(0)
    ours, theirs, memory = (unit(draw.normal(size=(rows, 4))) for rows in (5, 5, 7))
    q, p = (softmax(part @ memory.T / 0.1, axis=1) for part in (ours, theirs))
    value = memory_loss(*(torch.from_numpy(part) for part in (ours, theirs, memory)))
    assert value.item() == pytest.approx(entropy(p, q, axis=1).mean())


LABELS = torch.tensor([[[0, 0, 2], [255, 2, 2]], [[1, 1, 1], [1, 1, 7]]])


def directions(features):
    return torch.nn.functional.normalize(features, dim=1).flatten(2).mT


def test_a_region_is_the_mean_of_a_classes_pixels():
    features, memory = torch.randn(2, 4, 2, 3), Memory(3, 4, 5)
    before = memory.vectors.clone()
    memory.push(features, LABELS, 255)
    first = directions(features)[0]
    expected = torch.nn.functional.normalize(first[[0, 1]].mean(dim=0), dim=0)
    torch.testing.assert_close(memory.vectors[0, 0], expected)
    torch.testing.assert_close(memory.vectors.norm(dim=2), torch.ones(3, 5))
    assert memory.position.tolist() == [1, 1, 1]
    assert torch.equal(memory.vectors[:, 1:], before[:, 1:])


def test_pixels_are_the_classes_own_and_the_queue_goes_round():
    features, memory = torch.randn(2, 4, 2, 3), Memory(3, 4, 3, pixels=2)
    memory.push(features, LABELS, 255)
    assert memory.position.tolist() == [2, 2, 2]
    own = directions(features)[0][[2, 4, 5]]
    for vector in memory.vectors[2, :2]:
        assert (own - vector).abs().sum(dim=1).min() < 1e-6
    memory.push(features, LABELS, 255)
    assert memory.position.tolist() == [1, 1, 1]


def test_draws_take_the_same_places_of_each_class():
    memory = Memory(3, 4, 10)
    drawn = memory.draw(6).view(3, 6, 4)
    places = [(memory.vectors[0] == vector).all(dim=1).nonzero().item() for vector in drawn[0]]
    assert len(set(places)) == 6
    assert torch.equal(drawn, memory.vectors[:, places])
    assert memory.draw(99).shape == (30, 4)


def test_a_memory_that_was_saved_goes_on_as_it_was():
    features, memory, other = torch.randn(2, 4, 2, 3), Memory(3, 4, 5, 2), Memory(3, 4, 5, 2)
    memory.push(features, LABELS, 255)
    other.load_state_dict(memory.state_dict())
    for each in (memory, other):
        torch.manual_seed(3)
        each.push(features.flip(0), LABELS, 255)
    assert torch.equal(memory.vectors, other.vectors)
    assert torch.equal(memory.position, other.position)
