"""The full-width pairs that train from scratch, on real images of a fifth of their size."""

from __future__ import annotations

import pytest
import torch

from kdbench.openmmlab.setup import LIBRARIES, prepare_libraries
from kdbench.pairs import scratch
from kdbench.plugins import registry

prepare_libraries("mmdet")
prepare_libraries("mmseg")

from kdbench.openmmlab.data.loaders import training_loader  # noqa: E402
from kdbench.openmmlab.students import Subject  # noqa: E402

FOLDERS = {"bccd": "BCCD", "camvid": "CamVid"}
NAMES = [pair.name for pair in scratch.PAIRS]


def test_the_pairs_are_for_gpus_and_not_their_datasets_defaults():
    assert NAMES == [
        "camvid-pspnet-r50-r18-scratch",
        "bccd-faster-rcnn-r50-r18-scratch",
        "bccd-gfl-r50-r18-scratch",
    ]
    for pair in scratch.PAIRS:
        assert not pair.cpu
        assert not pair.pretrained
        assert registry().pairs_of(pair.dataset)[0].name != pair.name


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("name", NAMES)
def test_everything_trains(name, role, shared_data):
    """Whatever a pair's models freeze would keep its random initialisation: no gradient is missing."""
    pair = registry().pair(name).value
    dataset = registry().dataset(pair.dataset).value
    prepare_libraries(LIBRARIES[dataset.task])
    width, height = pair.schedule.scale
    schedule = pair.schedule.model_copy(update={"scale": (width // 5, height // 5), "batch_size": 2})
    model = Subject("scratch", getattr(pair, role), schedule, dataset, 0, pretrained=False).build().train()
    batch = next(iter(training_loader(dataset, shared_data / FOLDERS[pair.dataset], schedule, 0, 0)))
    total, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode="loss"))
    total.backward()
    assert torch.isfinite(total)
    norms = [part for part in model.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(norm.training and norm.track_running_stats for norm in norms)
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not still
