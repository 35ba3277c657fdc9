"""Which layers share channels: found by changing one channel and looking where it arrives.

While a channel of one layer is changed, every other full layer gives what it gave before, and BatchNorm gives what
it gets. So what arrives anywhere has come straight: past activations, poolings, sums, concatenations and layers
that keep channels apart. No architecture is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.api import Batch, UserError
from kdbench_papers.channel_pruning.tracing import Replacing, Trace, axis_of, channels_of, follows, mixes

NOISE = 100.0
"""Deviation of what takes the place of a channel, relative to that of the layer's outputs."""
ADVICE = "use a pair whose student is its teacher with fewer channels."


@dataclass(frozen=True, order=True)
class Inlet:
    """Where the channels of a group go into a layer: from input ``first`` on, ``width`` inputs a channel."""

    layer: str
    first: int
    width: int

    def inputs(self, channel: int) -> list[int]:
        """Return the layer's inputs that are of a channel."""
        start = self.first + channel * self.width
        return list(range(start, start + self.width))

    def span(self, channels: int) -> slice:
        """Return the layer's inputs that are of any of so many channels."""
        return slice(self.first, self.first + channels * self.width)


@dataclass(frozen=True)
class Group:
    """Layers whose channels stay or go together.

    Attributes:
        producers: The full layers whose outputs they are, in the order of the forward pass.
        inlets: Where they go: into full layers, and into layers that keep channels apart.
        channels: How many there are.
        keep: How many are to stay.
    """

    producers: tuple[str, ...]
    inlets: tuple[Inlet, ...]
    channels: int
    keep: int


def groups_of(teacher: nn.Module, wanted: Mapping[str, int], batch: Batch) -> list[Group]:
    """Return the groups of channels of which some are to go, in the order of the forward pass.

    Args:
        teacher: The network, in evaluation mode.
        wanted: Full layer -> the number of outputs that it is to have.
        batch: Runs a network on some images.

    Raises:
        UserError: If the channels of a layer do not stay apart on their way, or different numbers of shared ones
            are to stay.
    """
    probe = _Probe(teacher, batch)
    order = [name for name in probe.outputs if wanted[name] != probe.width(name)]
    found: list[tuple[set[str], set[Inlet]]] = []
    for name in order:
        producers, inlets = {name}, probe.inlets(name)
        for group in [group for group in found if group[1] & inlets]:
            found.remove(group)
            producers, inlets = producers | group[0], inlets | group[1]
        found.append((producers, inlets))
    groups = [
        Group(
            tuple(sorted(producers, key=order.index)), tuple(sorted(inlets)), *probe.sizes(producers, wanted)
        )
        for producers, inlets in found
    ]
    return sorted(groups, key=lambda group: order.index(group.producers[0]))


class _Probe:
    """A network in which a channel can be changed.

    Args:
        model: The network.
        batch: Runs it.
    """

    def __init__(self, model: nn.Module, batch: Batch) -> None:
        self.layers: dict[str, Any] = {
            name: layer for name, layer in model.named_modules() if mixes(layer) or follows(layer)
        }
        self.trace, self.batch = Trace(model, list(self.layers)), batch
        seen = self.trace.run(batch).outputs
        self.outputs = {name: outputs for name, outputs in seen.items() if mixes(self.layers[name])}
        self.before = self.trace.run(batch, self._straight).inputs

    def width(self, name: str) -> int:
        """Return the number of outputs of a full layer."""
        return int(self.layers[name].weight.shape[0])

    def sizes(self, names: set[str], wanted: Mapping[str, int]) -> tuple[int, int]:
        """Return how many channels layers that share them have, and how many are to stay.

        Raises:
            UserError: If these are several numbers, or more are to stay than there are.
        """
        sizes = sorted({(self.width(name), wanted[name]) for name in names})
        channels, keep = sizes[0]
        if len(sizes) > 1 or keep > channels:
            told = " and ".join(str(size[1]) for size in sizes)
            shared = f"channel-pruning: of the {channels} channels of {', '.join(sorted(names))}"
            raise UserError(f"{shared} {told} are to stay: {ADVICE}")
        return channels, keep

    def inlets(self, name: str) -> set[Inlet]:
        """Return where the channels of a layer arrive: the first and the last one tell of all.

        Raises:
            UserError: If they mix on their way.
        """
        last = self.width(name) - 1
        begins, ends = self._arrivals(name, 0), self._arrivals(name, last)
        found = set()
        for layer in begins.keys() | ends.keys():
            begin, end = begins.get(layer, []), ends.get(layer, [])
            inlet = (
                Inlet(layer, begin[0], (end[0] - begin[0]) // max(last, 1))
                if begin and end
                else Inlet(layer, 0, 0)
            )
            if inlet.inputs(0) != begin or inlet.inputs(last) != end:
                raise UserError(f"channel-pruning: the channels of {name} mix before {layer}: {ADVICE}")
            found.add(inlet)
        return found

    def _arrivals(self, name: str, channel: int) -> dict[str, list[int]]:
        """Return layer -> its inputs that change with a channel of another layer."""
        now = self.trace.run(self.batch, self._changing(name, channel)).inputs
        found = {}
        for layer, calls in now.items():
            pairs = zip(map(channels_of, calls), map(channels_of, self.before[layer]), strict=True)
            changed = torch.stack([(one != other).any(1) for one, other in pairs]).any(0)
            found[layer] = changed.nonzero().flatten().tolist()
        return {layer: inputs for layer, inputs in found.items() if inputs}

    def _straight(self, name: str, number: int, given: Tensor, output: Tensor) -> Tensor:
        """Let full layers repeat what they gave, and BatchNorm give what it gets."""
        if name in self.outputs:
            return self.outputs[name][number]
        return output if isinstance(self.layers[name], nn.Conv2d) else given

    def _changing(self, name: str, channel: int) -> Replacing:
        draws = torch.Generator().manual_seed(0)

        def replacing(layer: str, number: int, given: Tensor, output: Tensor) -> Tensor:
            output = self._straight(layer, number, given, output)
            if layer != name:
                return output
            output = output.clone()
            part = output.select(axis_of(output), channel)
            part.copy_(NOISE * (output.std() + 1) * torch.randn(part.shape, generator=draws).to(part))
            return output

        return replacing
