from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from torch.nn import functional

from kdbench_papers.structured.critic import Critic
from kdbench_papers.structured.losses import (
    adversarial_loss,
    cosines_to,
    critic_loss,
    pair_wise_loss,
    pixel_wise_loss,
)

VALUES = st.floats(-8, 8)
CHANNELS = st.tuples(st.integers(1, 5), st.integers(1, 5))
EQUAL_CHANNELS = st.integers(1, 5).map(lambda count: (count, count))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def pixel_reference(student: np.ndarray, teacher: np.ndarray) -> float:
    """Compute the mean over pixels of sum_c q^t log(q^t / q^s), pixel by pixel."""
    ours, theirs = softmax(student), softmax(teacher)
    pixels = [
        sum(t * np.log(t / s) for s, t in zip(ours[n, :, y, x], theirs[n, :, y, x], strict=True))
        for n, y, x in np.ndindex(len(ours), *ours.shape[2:])
    ]
    return float(np.mean(pixels))


def pooled(features: np.ndarray, nodes: tuple[int, int]) -> np.ndarray:
    """Compute the mean of the cells floor(i H / h) up to ceil((i + 1) H / h) of each node."""
    spans = [
        [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
        for size, count in zip(features.shape[2:], nodes, strict=True)
    ]
    rows = [
        np.stack([features[:, :, a:b, c:d].mean(axis=(2, 3)) for c, d in spans[1]], axis=-1)
        for a, b in spans[0]
    ]
    return np.stack(rows, axis=2)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    norms = np.sqrt((one**2).sum()), np.sqrt((other**2).sum())
    return 0.0 if min(norms) <= 1e-8 else float((one * other).sum() / norms[0] / norms[1])


def pair_reference(student: np.ndarray, teacher: np.ndarray, nodes: tuple[int, int] | None = None) -> float:
    """Compute 1 / n^2 sum_ij (a_ij^s - a_ij^t)^2 one pair at a time, averaged over images."""
    if nodes is not None:
        student, teacher = pooled(student, nodes), pooled(teacher, nodes)
    images = []
    for ours, theirs in zip(student, teacher, strict=True):
        s, t = (part.reshape(len(part), -1).T for part in (ours, theirs))
        pairs = np.ndindex(len(s), len(s))
        images.append(np.mean([(cosine(s[i], s[j]) - cosine(t[i], t[j])) ** 2 for i, j in pairs]))
    return float(np.mean(images))


@st.composite
def maps(draw, channels):
    """Draw two maps of the same size and with drawn channels; some features are zero vectors."""
    batch, height, width = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    parts = []
    for count in draw(channels):
        part = draw(arrays(np.float64, (batch, count, height, width), elements=VALUES))
        parts.append(part * draw(arrays(np.bool_, (batch, 1, height, width))))
    return parts


@settings(max_examples=60, deadline=None)
@given(maps(EQUAL_CHANNELS))
def test_pixels_equal_the_definition(pair):
    student, teacher = (torch.from_numpy(part) for part in pair)
    assert pixel_wise_loss(student, teacher).item() == pytest.approx(pixel_reference(*pair), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(maps(CHANNELS), st.none() | st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_pairs_equal_the_definition(pair, nodes):
    student, teacher = (torch.from_numpy(part) for part in pair)
    expected = pair_reference(*pair, nodes)
    assert pair_wise_loss(student, teacher, nodes).item() == pytest.approx(expected, rel=1e-6, abs=1e-9)
    single = pair_wise_loss(student.float(), teacher.float(), nodes)
    assert single.dtype == torch.float32
    if nodes is None:  # pooling may give a norm so small that float32 does not know its direction
        assert single.item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(("channels", "size"), [((3, 5), (4, 5)), ((5, 3), (4, 5)), ((30, 7), (4, 5))])
def test_both_ways_to_sum_agree_in_value_and_gradient(channels, size):
    """More cells than channels use products of channels, fewer use products of cells; zero channels force these."""
    student, teacher = (torch.randn(2, count, *size).double() for count in channels)
    student.requires_grad_()
    padded = functional.pad(student, (0, 0, 0, 0, 0, 100))
    losses = pair_wise_loss(student, teacher), pair_wise_loss(padded, teacher)
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, student)[0] for loss in losses))


def test_large_maps_need_no_matrix_of_all_pairs():
    """With 65536 nodes the matrix of pairs would take 16 GiB."""
    student = torch.randn(1, 4, 256, 256, requires_grad=True)
    loss = pair_wise_loss(student, torch.randn(1, 6, 256, 256))
    loss.backward()
    assert loss.item() == pytest.approx(1 / 4 + 1 / 6, rel=0.02)  # E[cos^2] is 1 / C, and the means cancel
    assert bool(torch.isfinite(student.grad).all())


@pytest.mark.parametrize("channels", [4, 64])
def test_the_same_maps_have_no_distance(channels):
    features = torch.rand(2, channels, 5, 5, requires_grad=True)
    loss = pair_wise_loss(features, 3 * features.detach())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert features.grad.abs().max() < 1e-7
    exact = pair_wise_loss(features, features.detach())
    assert exact.item() == 0
    turned, _ = torch.linalg.qr(torch.randn(channels, channels))
    same = torch.einsum("dc,nchw->ndhw", turned, features.detach())
    assert pair_wise_loss(features, same).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("channels", [2, 12])
def test_a_zero_vector_is_similar_to_nothing_and_gets_no_gradient(channels):
    student, teacher = torch.randn(1, channels, 3, 3), torch.randn(1, channels, 3, 3)
    student[:, :, 1, 1] = 0
    student.requires_grad_()
    loss = pair_wise_loss(student, teacher)
    loss.backward()
    assert torch.isfinite(student.grad).all()
    assert not student.grad[:, :, 1, 1].any()
    assert student.grad[:, :, 0, 0].any()
    nothing = pair_wise_loss(torch.zeros(1, channels, 3, 3), torch.zeros(1, channels, 3, 3))
    assert nothing.item() == 0


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (2, 2, 3, 3)])
def test_gradients_are_the_differentials(shape):
    student, teacher = torch.randn(shape).double().requires_grad_(), torch.randn(shape).double()
    assert torch.autograd.gradcheck(lambda value: pixel_wise_loss(value, teacher), student)
    assert torch.autograd.gradcheck(lambda value: pair_wise_loss(value, teacher), student)
    assert torch.autograd.gradcheck(lambda value: pair_wise_loss(value, teacher, (2, 2)), student)


@pytest.mark.parametrize("loss", [pixel_wise_loss, pair_wise_loss])
def test_teacher_half_strides_and_nothing(loss):
    student, teacher = torch.randn(2, 4, 5, 6), torch.randn(2, 4, 5, 6, requires_grad=True)
    leaf = student.clone().requires_grad_()
    loss(leaf, teacher).backward()
    assert teacher.grad is None
    assert leaf.grad.any()
    exact = loss(student.bfloat16().float(), teacher.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = loss(student.bfloat16(), teacher.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact)
    torch.testing.assert_close(loss(student.mT, teacher.mT), loss(student, teacher))
    for shape in ((0, 3, 2, 2), (2, 3, 0, 4)):
        empty = torch.randn(shape, requires_grad=True)
        value = loss(empty, torch.randn(shape))
        value.backward()
        assert value.item() == 0
        assert empty.grad is not None


def test_one_class_and_one_pixel():
    assert pixel_wise_loss(torch.randn(2, 1, 3, 3), torch.randn(2, 1, 3, 3)).item() == 0
    assert pixel_wise_loss(torch.randn(2, 3, 1, 1), torch.randn(2, 3, 1, 1)).item() > 0
    assert pair_wise_loss(torch.randn(2, 3, 1, 1), torch.randn(2, 5, 1, 1)).item() == pytest.approx(
        0, abs=1e-12
    )


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        pixel_wise_loss(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 6, 6))
    with pytest.raises(ValueError, match="differ in images or size"):
        pair_wise_loss(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 6, 6))
    with pytest.raises(ValueError, match="differ in images or size"):
        pair_wise_loss(torch.zeros(1, 2, 3, 3), torch.zeros(2, 2, 3, 3), (2, 2))
    with pytest.raises(ValueError, match="differ in shape"):
        critic_loss(Linear(5), torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 6, 6), torch.zeros(1, 3, 6, 6))


class Linear(nn.Module):
    """Critic whose score of an image is the sum over its cells of w . (maps, image)."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels).double())

    def forward(self, maps):
        return (maps * self.weight[:, None, None]).sum(dim=(1, 2, 3))


@settings(max_examples=25, deadline=None)
@given(maps(EQUAL_CHANNELS), st.floats(0, 20))
def test_a_linear_critic_by_hand(pair, weight):
    """grad D is w_c in every cell, so the penalty is (sqrt(H W) ||w_1..C|| - 1)^2, wherever it is taken."""
    batch, classes, height, width = pair[0].shape
    image = np.random.default_rng(0).normal(size=(batch, 3, height, width))
    critic = Linear(classes + 3)
    w = critic.weight.detach().numpy()
    ours, theirs = (np.concatenate([softmax(part), image], axis=1) for part in pair)
    scores = [[float((w[:, None, None] * one).sum()) for one in part] for part in (ours, theirs)]
    slope = np.sqrt(height * width) * np.sqrt((w[:classes] ** 2).sum())
    expected = np.mean(scores[0]) - np.mean(scores[1]) + weight * (slope - 1) ** 2
    student, teacher, seen = (torch.from_numpy(part) for part in (*pair, image))
    loss = critic_loss(critic, student, teacher, seen, weight)
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)
    (gradient,) = torch.autograd.grad(loss, critic.weight)
    of_penalty = 2 * weight * (slope - 1) * height * width * w[:classes] / slope
    by_hand = (ours - theirs).sum(axis=(2, 3)).mean(axis=0) + np.concatenate([of_penalty, np.zeros(3)])
    np.testing.assert_allclose(gradient.numpy(), by_hand, rtol=1e-6, atol=1e-9)
    own = adversarial_loss(critic, student, seen)
    assert own.item() == pytest.approx(-np.mean(scores[0]), rel=1e-6, abs=1e-9)


def test_the_penalty_is_taken_between_the_maps():
    """D = 1/2 sum Q^2 has the gradient Q, whose norm shows at which Q it was evaluated."""
    student, teacher = torch.randn(3, 4, 2, 2).double(), torch.randn(3, 4, 2, 2).double()
    image = torch.zeros(3, 3, 2, 2)
    torch.manual_seed(5)
    loss = critic_loss(lambda maps: (maps**2).sum(dim=(1, 2, 3)) / 2, student, teacher, image, 1.0)
    ours, theirs = student.softmax(1), teacher.softmax(1)
    distance = (ours**2).sum() / 6 - (theirs**2).sum() / 6
    torch.manual_seed(5)
    share = torch.rand(3, 1, 1, 1, dtype=torch.float64)
    norm = (share * theirs + (1 - share) * ours).flatten(1).norm(dim=1)
    torch.testing.assert_close(loss, distance + (norm - 1).square().mean())


def test_the_critics_gradient_is_the_differential():
    critic = nn.Sequential(nn.Conv2d(5, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 1)).double()
    student, teacher = torch.randn(2, 2, 3, 3).double(), torch.randn(2, 2, 3, 3).double()
    image = torch.randn(2, 3, 8, 8).double()

    def of(weight):
        torch.manual_seed(0)
        called = torch.func.functional_call
        return critic_loss(
            lambda maps: called(critic, {"0.weight": weight}, (maps,)), student, teacher, image
        )

    assert torch.autograd.gradcheck(of, critic[0].weight)
    own = student.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda value: adversarial_loss(critic, value, image), own)


def test_the_image_is_resized_to_the_maps():
    def critic(maps):
        assert maps.shape == (2, 5, 3, 4)
        return maps[:, 2:]

    image = torch.arange(2.0)[:, None, None, None].expand(2, 3, 24, 32)
    assert adversarial_loss(critic, torch.randn(2, 2, 3, 4), image).item() == pytest.approx(-0.5)


def test_a_critic_of_weight_zero_has_a_finite_gradient():
    critic = Linear(5)
    nn.init.zeros_(critic.weight)
    loss = critic_loss(critic, torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3), torch.randn(1, 3, 3, 3))
    loss.backward()
    assert loss.item() == pytest.approx(10)
    assert torch.isfinite(critic.weight.grad).all()


def test_who_gets_gradients_from_the_critic():
    critic, image = Critic(5), torch.randn(2, 3, 8, 8)
    student, teacher = (torch.randn(2, 2, 4, 4, requires_grad=True) for _ in range(2))
    critic_loss(critic, student, teacher, image).backward()
    assert student.grad is None
    assert teacher.grad is None
    assert all(p.grad is not None for p in critic.parameters())
    critic.requires_grad_(False).zero_grad()
    adversarial_loss(critic, student, image).backward()
    assert student.grad.any()
    assert all(p.grad is None for p in critic.parameters())


def test_the_critic_in_autocast_and_without_images():
    critic, image = Critic(5), torch.randn(2, 3, 8, 8)
    student, teacher = torch.randn(2, 2, 4, 4).bfloat16(), torch.randn(2, 2, 4, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = adversarial_loss(critic, student, image), critic_loss(critic, student, teacher, image, 0.0)
    exact = (
        adversarial_loss(critic, student.float(), image),
        critic_loss(critic, student, teacher, image, 0.0),
    )
    assert all(value.dtype == torch.float32 for value in low)
    torch.testing.assert_close(low, exact)
    turned = adversarial_loss(critic, student.mT.contiguous().mT, image)
    torch.testing.assert_close(turned, exact[0])
    empty = torch.randn(0, 2, 4, 4, requires_grad=True)
    for value in (adversarial_loss(critic, empty, image[:0]), critic_loss(critic, empty, empty, image[:0])):
        value.backward()
        assert value.item() == 0
    assert empty.grad is not None


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (15, 20), (16, 16), (33, 65)])
@pytest.mark.parametrize("spectral", [False, True])
def test_the_critic_takes_any_size(size, spectral):
    critic = Critic(1 + 3, spectral=spectral)
    assert critic(torch.randn(2, 4, *size)).shape == (2, 1, -(-size[0] // 4), -(-size[1] // 4))
    student, teacher = torch.randn(2, 1, *size), torch.randn(2, 1, *size)
    loss = critic_loss(critic, student, teacher, torch.randn(2, 3, 8, 8))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in critic.parameters())


def test_the_critics_layers():
    critic = Critic(14)
    convs = [part for part in critic.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
    assert [conv.out_channels for conv in convs] == [64, 128, 256, 512, 1]
    assert [attention.value.out_channels for attention in critic.attentions] == [256, 512]


def test_attention_reaches_every_position():
    critic = Critic(4)
    maps = torch.randn(1, 4, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(maps)[0, 0, 0, 0], maps)
    assert not gradient[..., -1, -1].any()
    for attention in critic.attentions:
        nn.init.constant_(attention.gamma, 0.5)
    (gradient,) = torch.autograd.grad(critic(maps)[0, 0, 0, 0], maps)
    assert gradient[..., -8:, -8:].any()


def test_spectral_norm_bounds_the_convolutions():
    critic = Critic(4, spectral=True)
    for _ in range(20):
        critic(torch.randn(1, 4, 4, 4))
    norms = [torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() for conv in critic.convs]
    assert norms == pytest.approx([1] * 4, rel=0.05)


def test_cosines_to_a_position():
    features = torch.randn(2, 3, 4, 5)
    found = cosines_to(features, 1, 2)
    expected = functional.cosine_similarity(features, features[:, :, 1:2, 2:3].expand_as(features))
    torch.testing.assert_close(found, expected)
    assert found[:, 1, 2].tolist() == pytest.approx([1, 1])
