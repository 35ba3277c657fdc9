"""On a GPU a loss that asks for a value, or for as many rows as a mask has, waits for the device."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from test_every_method import ITERATIONS, KINDS, TRAININGS
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

ASKING = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::equal",
}
SAMPLING = {"mimic": 3, "quantization-mimic": 3}
"""Methods that deal regions out to levels: they may ask once a level, whatever the number of images."""
FIRST = {kinds[0] for kinds in KINDS.values()}
DEFAULTS = [p for p in TRAININGS if p.values[1] in FIRST and p.values[2] == ITERATIONS[True]]


class Waits(TorchDispatchMode):
    """Counts what would wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition(".")[0]
        masks = name in ("aten::index", "aten::index_put", "aten::index_put_") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1]
        )
        self.seen[name] += name in ASKING or masks
        return func(*args, **(kwargs or {}))


def one_hot(index: Tensor, classes: int) -> Tensor:
    """torch's, which asks for the largest index on a CPU alone."""
    return (index[..., None] == torch.arange(classes)).long()


@pytest.mark.parametrize(("selector", "kind", "iterations"), DEFAULTS)
def test_losses_do_not_wait_for_the_device(bench, selector, kind, iterations, monkeypatch):
    from kdbench.openmmlab.data.loaders import training_loader

    subject = bench.subject(kind)
    batch = next(iter(training_loader(subject.dataset, bench.folder, subject.schedule, 0, 0)))
    model, waits = bench.distiller(kind, selector).train(), Waits()
    losses = model.method.losses

    def watched(step: Any) -> Any:
        with monkeypatch.context() as patch, waits:
            patch.setattr(torch.nn.functional, "one_hot", one_hot)
            return losses(step)

    monkeypatch.setattr(model.method, "losses", watched)
    model(**model.data_preprocessor(batch, True), mode="loss")
    assert waits.seen.total() <= SAMPLING.get(selector.partition("[")[0], 0), waits.seen
    assert waits.seen, "something was watched"
