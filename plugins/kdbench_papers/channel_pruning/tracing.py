"""Runs a network with all of its layers watched: what went in and came out, and what is put in its place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdbench.api import Batch

Calls = dict[str, list[Tensor]]
"""Layer -> a tensor for each time that it was called, in this order."""
Replacing = Callable[[str, int, Tensor, Tensor], Tensor]
"""From a layer, how often it was called before, what it got and what it gave, to what it is to give."""


def mixes(layer: nn.Module) -> bool:
    """Whether each output of a layer is made of all its inputs: a full convolution, or a linear layer."""
    if isinstance(layer, nn.Conv2d):
        return type(layer).forward is nn.Conv2d.forward and layer.groups == 1
    return isinstance(layer, nn.Linear)


def follows(layer: nn.Module) -> bool:
    """Whether a layer with weights keeps its channels apart: a BatchNorm, or a depthwise convolution."""
    depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels
    return depthwise or isinstance(layer, _BatchNorm)


def channels_of(maps: Tensor) -> Tensor:
    """Return maps (B, C, H, W), or vectors (..., C), as (C, samples)."""
    return maps.movedim(axis_of(maps), 0).flatten(1)


def axis_of(maps: Tensor) -> int:
    """Return the axis of the channels of maps (B, C, H, W), or of vectors (..., C)."""
    return 1 if maps.ndim == 4 else -1


class Trace:
    """What the layers of a network get of a batch, and what they give by themselves.

    Args:
        model: The network.
        names: Its layers that are watched.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.model, self.names = model, names
        self.inputs: Calls = defaultdict(list)
        self.outputs: Calls = defaultdict(list)

    def run(self, batch: Batch, replacing: Replacing | None = None) -> Trace:
        """Run the network and return this trace, with what was seen in this run alone."""
        self.inputs, self.outputs = defaultdict(list), defaultdict(list)
        with self._watched(replacing):
            batch(self.model)
        return self

    @contextmanager
    def _watched(self, replacing: Replacing | None) -> Iterator[None]:
        layers = dict(self.model.named_modules())
        with ExitStack() as hooks:
            for name in self.names:
                hooks.callback(layers[name].register_forward_hook(self._hook(name, replacing)).remove)
            yield

    def _hook(self, name: str, replacing: Replacing | None) -> Callable[..., Tensor]:
        def hook(_layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            number = len(self.inputs[name])
            self.inputs[name].append(given[0])
            self.outputs[name].append(output)
            output = output if replacing is None else replacing(name, number, given[0], output)
            return output.clone()  # an activation may work in place

        return hook
