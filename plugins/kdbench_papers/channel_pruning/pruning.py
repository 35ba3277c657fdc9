"""Takes channels out of a network, group by group; the layers that take them make up for the others."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.api import Batch, UserError
from kdbench_papers.channel_pruning.groups import ADVICE, Group, Inlet
from kdbench_papers.channel_pruning.moments import Moments, drawn, samples_of
from kdbench_papers.channel_pruning.solvers import correction, kept_channels
from kdbench_papers.channel_pruning.tracing import Calls, Replacing, Trace, mixes


class Pruning:
    """A network on its way to fewer channels: the others are still there, and no layer takes them.

    Args:
        teacher: The network, in evaluation mode; stays as it is.
        fixed: Full layers that keep all of their outputs.
        batches: Run a network on images.
        positions: Positions of each map of an image that are looked at.
    """

    def __init__(
        self, teacher: nn.Module, fixed: Collection[str], batches: Sequence[Batch], positions: int
    ) -> None:
        self.teacher, self.pruned = teacher, copy.deepcopy(teacher)
        self.fixed, self.batches, self.positions = fixed, batches, positions
        self.layers: dict[str, Any] = dict(self.pruned.named_modules())
        self.full = [name for name, layer in self.layers.items() if mixes(layer)]
        self.dropped_inputs: dict[str, set[int]] = {}
        self.dropped_outputs: dict[str, set[int]] = {}

    def prune(self, group: Group) -> list[int]:
        """Take channels out of a group; gives those that stay, in their order."""
        taking = [inlet for inlet in group.inlets if inlet.layer in self.full]
        moments = self._moments(taking, group.channels)
        parts = [found.parts(group.channels) for found in moments.values()]
        gram, products = (torch.stack(each).sum(0) for each in zip(*parts, strict=True))
        kept = kept_channels(gram, products, group.keep)
        gone = sorted(set(range(group.channels)) - set(kept))
        for inlet, found in moments.items():
            self._reconstruct(inlet, found, kept, group.channels)
        for inlet in group.inlets:
            inputs = self.dropped_inputs.setdefault(inlet.layer, set())
            inputs.update(at for channel in gone for at in inlet.inputs(channel))
        for name in group.producers:
            self.dropped_outputs.setdefault(name, set()).update(gone)
        return kept

    def _moments(self, inlets: Sequence[Inlet], channels: int) -> dict[Inlet, Moments]:
        """Look at all batches in both networks.

        Layers that keep all of their outputs go on with the teacher's: so both have the same proposals.
        """
        found = {inlet: Moments.of(self.layers[inlet.layer], inlet, channels) for inlet in inlets}
        watched = [*self.fixed, *{inlet.layer for inlet in inlets}.difference(self.fixed)]
        before, now = Trace(self.teacher, watched), Trace(self.pruned, watched)
        draws = torch.Generator().manual_seed(0)
        for batch in self.batches:
            gave = before.run(batch).outputs
            now.run(batch, self._repeating(gave))
            for inlet, moments in found.items():
                name, layer = inlet.layer, self.layers[inlet.layer]
                for given, theirs, ours in zip(now.inputs[name], gave[name], now.outputs[name], strict=True):
                    samples = samples_of(layer, inlet, channels, given, theirs - ours)
                    moments.add(*drawn(*samples, self.positions, draws))
        return found

    def _repeating(self, gave: Calls) -> Replacing:
        return lambda name, number, _given, output: gave[name][number] if name in self.fixed else output

    def _reconstruct(self, inlet: Inlet, moments: Moments, kept: Sequence[int], channels: int) -> None:
        """Give a layer the weights on the channels that stay which make up for the others."""
        width = len(moments.weight) // channels
        rows = [at for channel in kept for at in range(channel * width, (channel + 1) * width)]
        squares, weight = moments.squares[rows][:, rows], moments.weight[rows]
        made = torch.zeros_like(moments.weight)
        made[rows] = weight + correction(squares, moments.products[rows] - squares @ weight)
        part = self.layers[inlet.layer].weight.data[:, inlet.span(channels)]
        part.copy_(made.T.reshape(part.shape))

    def into(self, student: nn.Module) -> None:
        """Load the weights of what is left into a network of that size.

        Raises:
            UserError: If a weight has another size there.
        """
        state, own = self.pruned.state_dict(), student.state_dict()
        for key, value in state.items():
            left = self._left(*key.rpartition(".")[::2], value)
            if left.shape != own[key].shape:
                sizes = " and ".join("x".join(map(str, each.shape)) for each in (left, own[key]))
                kind = type(self.layers[key.rpartition(".")[0]]).__name__
                told = f"channel-pruning: {key} of {kind} would be {sizes[: sizes.index(' ')]}"
                raise UserError(f"{told}, and the student's is {sizes.rpartition(' ')[2]}: {ADVICE}")
            state[key] = left
        student.load_state_dict(state)

    def _left(self, name: str, parameter: str, value: Tensor) -> Tensor:
        """Return what is left of a layer's parameter or statistic."""
        layer = self.layers[name]
        if mixes(layer):
            value = _without(value, 0, self.dropped_outputs.get(name))
            return _without(value, 1, self.dropped_inputs.get(name)) if parameter == "weight" else value
        return _without(value, 0, self.dropped_inputs.get(name)) if value.ndim else value


def _without(value: Tensor, axis: int, gone: set[int] | None) -> Tensor:
    """Return a tensor without some of its slices along an axis."""
    if not gone:
        return value
    left = [at for at in range(value.shape[axis]) if at not in gone]
    return value.index_select(axis, torch.tensor(left, device=value.device))
