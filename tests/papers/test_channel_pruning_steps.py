"""Selection, reconstruction and the search for shared channels, against independent derivations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from kdbench.errors import UserError
from kdbench_papers.channel_pruning.card import PruningOptions
from kdbench_papers.channel_pruning.groups import Inlet, groups_of
from kdbench_papers.channel_pruning.method import ChannelPruning
from kdbench_papers.channel_pruning.moments import Moments, drawn, samples_of
from kdbench_papers.channel_pruning.solvers import correction, kept_channels, lasso_path


def drawn_problem(seed, samples=60, channels=5):
    draws = np.random.default_rng(seed)
    z = draws.normal(size=(samples, channels)) * draws.uniform(0.5, 2, channels)
    y = z @ draws.normal(size=channels) + draws.normal(size=samples)
    return z, y


def by_enumeration(z, y, penalty):
    """The LASSO from its optimality conditions, tried for every pattern of signs."""
    for signs in itertools.product((-1, 0, 1), repeat=z.shape[1]):
        signs = np.array(signs)
        used, found = signs != 0, np.zeros(len(signs))
        if used.any():
            part = z[:, used]
            found[used] = np.linalg.solve(part.T @ part, part.T @ y - penalty * signs[used])
        pull = z.T @ (y - z @ found)
        if (np.sign(found) == signs).all() and (np.abs(pull[~used]) <= penalty + 1e-9).all():
            return found
    raise AssertionError("no pattern of signs is optimal")


@pytest.mark.parametrize("seed", range(4))
def test_the_path_of_the_lasso(seed):
    z, y = drawn_problem(seed)
    stops = list(lasso_path(torch.tensor(z.T @ z), torch.tensor(z.T @ y)))
    assert len(stops) >= z.shape[1]
    for penalty, found, used in stops:
        np.testing.assert_allclose(found.numpy(), by_enumeration(z, y, penalty * (1 + 1e-9)), atol=1e-6)
        assert np.flatnonzero(by_enumeration(z, y, penalty * (1 - 1e-6))).tolist() == used


@pytest.mark.parametrize("keep", [1, 2, 4, 5])
def test_the_channels_that_stay_are_those_of_the_path_of_the_lasso(keep):
    z, y = drawn_problem(7)
    gram, products = torch.tensor(z.T @ z), torch.tensor(z.T @ y)
    kept = kept_channels(gram, products, keep)
    patterns = [np.flatnonzero(by_enumeration(z, y, penalty)) for penalty in np.geomspace(1e-3, 500, 300)]
    assert kept in [list(pattern) for pattern in patterns if len(pattern) == keep]


def test_equal_and_dead_channels_do_not_end_it():
    z, y = drawn_problem(1)
    z = np.concatenate([z, z, np.zeros_like(z)], axis=1)
    kept = kept_channels(torch.tensor(z.T @ z), torch.tensor(z.T @ y), 5)
    assert sorted(at % 5 for at in kept) == [0, 1, 2, 3, 4]
    assert max(kept) < 10
    assert kept_channels(torch.zeros(3, 3).double(), torch.zeros(3).double(), 2) == [0, 1]


def test_reconstruction_is_least_squares():
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(50, 6)), draws.normal(size=(50, 3))
    found = correction(torch.tensor(x.T @ x), torch.tensor(x.T @ y))
    np.testing.assert_allclose(found.numpy(), np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_moments_of_a_convolution(stride):
    """Against the outputs of each channel convolved by itself."""
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 4, 3, stride=stride, padding=1)
    inputs, outputs = torch.randn(2, 5, 7, 6), torch.randn(2, 4, *((7, 6) if stride == 1 else (4, 3)))
    inlet = Inlet("", 1, 1)  # its channels are inputs 1 to 3
    moments = Moments.of(layer, inlet, 3)
    missing = outputs - layer(inputs)
    moments.add(*drawn(*samples_of(layer, inlet, 3, inputs, missing), 1000, torch.Generator()))
    with torch.no_grad():
        parts = torch.stack(
            [
                functional.conv2d(inputs[:, [at]], layer.weight[:, [at]], stride=stride, padding=1).flatten()
                for at in (1, 2, 3)
            ]
        )
        wanted = missing.flatten() + parts.sum(0)
    gram, products = moments.parts(3)
    energy = wanted.square().sum()
    torch.testing.assert_close(gram.float(), parts @ parts.T / energy)
    torch.testing.assert_close(products.float(), parts @ wanted / energy)


def test_moments_of_a_linear_layer_behind_pooled_maps():
    torch.manual_seed(0)
    layer, inlet = nn.Linear(3 * 4, 2), Inlet("", 0, 4)  # 4 cells a channel
    inputs, missing = torch.randn(8, 12), torch.randn(8, 2)
    moments = Moments.of(layer, inlet, 3)
    moments.add(*drawn(*samples_of(layer, inlet, 3, inputs, missing), 1, torch.Generator()))
    weight = layer.weight.detach()
    parts = [inputs[:, 4 * at : 4 * at + 4] @ weight[:, 4 * at : 4 * at + 4].T for at in range(3)]
    wanted = missing + sum(parts)
    gram, products = moments.parts(3)
    energy = wanted.square().sum()
    for row, one in enumerate(parts):
        assert float(products[row]) == pytest.approx(float((one * wanted).sum() / energy), abs=1e-5)
        for column, other in enumerate(parts):
            assert float(gram[row, column]) == pytest.approx(float((one * other).sum() / energy), abs=1e-5)


def test_drawn_positions_are_the_same_of_inputs_and_outputs():
    maps = torch.arange(2 * 30).view(2, 30, 1).float()
    ours, theirs = drawn(maps, maps + 100, 7, torch.Generator().manual_seed(3))
    assert ours.shape == (14, 1)
    assert torch.equal(ours + 100, theirs)
    assert len(set(ours.flatten().tolist())) == 14
    assert sum(value < 30 for value in ours.flatten().tolist()) == 7


class Block(nn.Module):
    """A residual stream of ``width`` channels, a branch that is concatenated to it, and a linear head."""

    def __init__(self, width, norm=nn.BatchNorm2d):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, width, 3, padding=1, bias=False), norm(width)
        self.inner, self.inner_norm = nn.Conv2d(width, 2 * width, 3, padding=1), norm(2 * width)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.outer, self.outer_norm = nn.Conv2d(2 * width, width, 1), norm(width)
        self.branch = nn.Conv2d(width, width, 1)
        self.hidden, self.last = nn.Linear(2 * width * 4, 3 * width), nn.Linear(3 * width, 5)

    def forward(self, images):
        stream = self.stem_norm(self.stem(images)).relu()
        inner = self.depthwise(self.inner_norm(self.inner(stream)).relu_())
        stream = (stream + self.outer_norm(self.outer(inner))).relu()
        both = torch.cat(
            [functional.max_pool2d(stream, 4), functional.avg_pool2d(self.branch(stream).relu(), 4)], 1
        )
        return self.last(self.hidden(both.flatten(1)).relu_())


@pytest.fixture
def images():
    return torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def batches(images):
    def run(model):
        with torch.no_grad():
            model.eval()(images)

    return [run]


def network(width, seed=0, **more):
    """A network with statistics and factors that are none's default."""
    torch.manual_seed(seed)
    model = Block(width, **more)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value in (layer.running_mean, layer.bias.data):
                value.normal_()
            for value in (layer.running_var, layer.weight.data):
                value.uniform_(0.5, 1.5)
    return model.eval()


def widths(model):
    return {
        name: len(p)
        for name, p in ((n.rpartition(".")[0], p) for n, p in model.named_parameters())
        if p.ndim > 1
    }


def test_shared_channels_are_found(batches):
    found = {group.producers: group for group in groups_of(network(4), widths(network(2)), batches[0])}
    assert list(found) == [("stem", "outer"), ("inner",), ("branch",), ("hidden",)]
    stream, inner, branch, hidden = found.values()
    assert set(stream.inlets) == {
        Inlet("stem_norm", 0, 1),
        Inlet("inner", 0, 1),
        Inlet("outer_norm", 0, 1),
        Inlet("branch", 0, 1),
        Inlet("hidden", 0, 4),
    }
    assert set(inner.inlets) == {Inlet("inner_norm", 0, 1), Inlet("depthwise", 0, 1), Inlet("outer", 0, 1)}
    assert branch.inlets == (Inlet("hidden", 16, 4),)
    assert hidden.inlets == (Inlet("last", 0, 1),)
    assert [(group.channels, group.keep) for group in found.values()] == [(4, 2), (8, 4), (4, 2), (12, 6)]


def test_a_norm_that_is_silent_hides_nothing(batches):
    """ResNets begin with a factor of 0 on a block's last norm."""
    model = network(4)
    nn.init.zeros_(model.outer_norm.weight)
    groups = groups_of(model, widths(network(2)), batches[0])
    assert groups[0].producers == ("stem", "outer")


def redundant(small):
    """A network of twice the width that computes the same: each channel twice, at half of its weight."""
    wide, state = Block(2 * len(small.stem.weight)).eval(), {}
    for name, layer in small.named_modules():
        for key, value in layer.named_parameters(recurse=False):
            state[f"{name}.{key}"] = doubled(name, key, value.detach())
        for key, value in layer.named_buffers(recurse=False):
            state[f"{name}.{key}"] = value.repeat(2) if value.ndim else value
    wide.load_state_dict(state)
    return wide


def doubled(name, key, value):
    out = value if name == "last" else value.repeat(2, *[1] * (value.ndim - 1))
    if key != "weight" or value.ndim < 2 or name in ("stem", "depthwise"):
        return out
    if name == "hidden":  # two parts that are concatenated
        parts = out.chunk(2, 1)
        return torch.cat([part.repeat(1, 2) for part in parts], 1) / 2
    return out.repeat(1, 2, *[1] * (value.ndim - 2)) / 2


def test_redundant_channels_go_without_a_trace(images, batches):
    small = network(3)
    wide = redundant(small)
    torch.testing.assert_close(wide(images), small(images), rtol=1e-4, atol=1e-4)
    student = network(3, seed=1)
    notes = ChannelPruning(PruningOptions(positions=1000)).start(student, wide, batches)
    torch.testing.assert_close(student.eval()(images), wide(images), rtol=1e-3, atol=1e-3)
    assert notes == ["4 groups of channels of 5 layers pruned: 6 to 3, 12 to 6, 18 to 9"]


def test_reconstruction_comes_closer_than_selection_alone(images, batches, monkeypatch):
    teacher = network(6)
    wanted = teacher(images)

    def error():
        student = network(4, seed=1)
        ChannelPruning(PruningOptions(positions=1000)).start(student, teacher, batches)
        return float((student.eval()(images) - wanted).detach().square().mean())

    with_it = error()
    target = "kdbench_papers.channel_pruning.pruning.correction"
    monkeypatch.setattr(target, lambda _squares, products: torch.zeros_like(products))
    assert with_it < 0.5 * error()


def refusal(teacher, student, batches):
    with pytest.raises(UserError) as caught:
        ChannelPruning(PruningOptions()).start(student, teacher, batches)
    return str(caught.value)


def test_what_cannot_be_pruned_is_refused(batches):
    told = refusal(network(4), network(6), batches)
    assert "of the 8 channels of inner 12 are to stay" in told
    other = network(2)
    other.outer = nn.Conv2d(4, 2, 3)
    assert "outer.weight of Conv2d would be 2x4x1x1, and the student's is 2x4x3x3" in refusal(
        network(4), other, batches
    )
    assert "the teacher has no extra.bias" in refusal(network(4), with_extra(network(2)), batches)
    grouped = [network(width, norm=lambda channels: nn.GroupNorm(2, channels)) for width in (4, 2)]
    assert "the channels of stem mix before" in refusal(*grouped, batches)


def with_extra(model):
    model.extra = nn.Linear(2, 2)
    return model
