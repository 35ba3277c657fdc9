"""Losses and gradients on the pretended device are a CPU's, bit for bit: run with a folder for the scenes."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import torch
from small_bench import Bench

from kdbench.conformance import pretend

KINDS = ("faster", "retinanet", "gfl", "pspnet")


def batches(bench: Bench, kind: str) -> list[Any]:
    """Two batches; in the second one an image is smaller than the other, where that is allowed."""
    from kdbench.openmmlab.data.loaders import training_loader

    subject = bench.subject(kind, batch_size=4)
    loader = iter(training_loader(subject.dataset, bench.folder, subject.schedule, 0, 0))
    found = [next(loader), next(loader)]
    if kind != "pspnet":
        found[1]["inputs"][1] = found[1]["inputs"][1][:, :40, :33]
        found[1]["data_samples"][1].set_metainfo({"img_shape": (40, 33)})
    return found


def step(model: Any, batch: Any) -> list[torch.Tensor]:
    """The losses, and the gradients of their sum."""
    torch.manual_seed(0)
    model.zero_grad()
    total, logged = model.parse_losses(
        model(**model.data_preprocessor(copy.deepcopy(batch), True), mode="loss")
    )
    total.backward()
    values = [total.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
    assert logged
    return [value.cpu() for value in values]


def main(folder: Path) -> None:
    pretend.install()
    from kdbench.datasets.digits_files import write
    from kdbench.openmmlab.process import use_device
    from kdbench.openmmlab.setup import prepare_libraries

    for library in ("mmdet", "mmseg"):
        prepare_libraries(library)
    use_device(pretend.NAME)
    write(folder, {"train": 8, "test": 1}, 0)
    bench = Bench(folder)
    for kind in KINDS:
        model = bench.distiller(kind).train()
        twin = copy.deepcopy(model).to(pretend.NAME)
        for batch in batches(bench, kind):
            own, other = step(model, batch), step(twin, batch)
            assert len(own) == len(other) > 10
            assert all(torch.equal(*pair) for pair in zip(own, other, strict=True)), kind
        print(kind)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
