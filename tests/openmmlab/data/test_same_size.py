"""A prediction belongs to the weights and the image: not to the order of the lists, nor to the images beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

SIZES = [(64, 48), (48, 64), (64, 64)]
IMAGES = 40
"""More than two batches."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One dataset twice: its list sorted, and shuffled."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    names = [f"image{number:02}" for number in range(IMAGES)]
    found = []
    for order in (names, list(rng.permutation(names))):
        found.append(folder / f"listed{len(found)}")
        for part in ("Main", "Segmentation"):
            (found[-1] / "ImageSets" / part).mkdir(parents=True)
            for split in ("train", "test"):
                (found[-1] / "ImageSets" / part / f"{split}.txt").write_text("\n".join(order))
        for part in ("JPEGImages", "Annotations", "SegmentationClass"):
            (folder / part).mkdir(exist_ok=True)
            (found[-1] / part).symlink_to(folder / part)
    box = "<bndbox><xmin>4</xmin><ymin>4</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
    for name in names:
        width, height = SIZES[rng.integers(len(SIZES))]
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.png")
        Image.fromarray(pixels[:, :, 0] // 24).save(folder / "SegmentationClass" / f"{name}.png")
        object_ = f"<object><name>3</name>{box}</object>"
        (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{object_}</annotation>")
    return found


@pytest.fixture
def subject(bench, request):
    return bench.subject(request.param, keep_ratio=True)


def predictions(model, subject, folder, workers=0):
    """Image -> boxes with scores and labels, or logits."""
    from kdbench.openmmlab.data.loaders import evaluation_loader

    found = {}
    for batch in evaluation_loader(subject.dataset, folder, subject.schedule, "test", workers):
        assert len({image.shape for image in batch["inputs"]}) == 1
        with torch.no_grad():
            for sample in model.test_step(batch):
                if "pred_instances" in sample:
                    boxes = sample.pred_instances
                    value = torch.cat([boxes.bboxes, boxes.scores[:, None], boxes.labels[:, None]], dim=1)
                else:
                    value = sample.seg_logits.data
                found[sample.img_path.rpartition("/")[2]] = value
    assert len(found) == IMAGES
    return found


@pytest.mark.parametrize("subject", ["faster", "pspnet"], indirect=True)
def test_order_and_processes_change_no_bit_and_company_nothing_that_counts(
    bench, subject, folders, monkeypatch
):
    from kdbench.openmmlab.data import loaders as data

    model = subject.build().eval()
    expected = predictions(model, subject, folders[0])
    assert any(len(value) for value in expected.values())
    for folder, workers in ((folders[1], 0), (folders[1], 2)):
        found = predictions(model, subject, folder, workers)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    monkeypatch.setattr(data, "EVALUATION_BATCH", 1)
    alone = predictions(model, subject, folders[0])
    assert all(torch.allclose(alone[name], value, atol=1e-4) for name, value in expected.items())


@pytest.mark.parametrize("subject", ["faster", "pspnet"], indirect=True)
def test_the_metrics_are_those_of_any_order(bench, subject, folders, tmp_path):
    from kdbench.openmmlab.students import evaluate

    model = subject.build()
    metrics = [
        evaluate(model, replace(subject, name=folder.name), replace(bench.place(tmp_path), folder=folder))
        for folder in folders
    ]
    assert metrics[0] == metrics[1]


def test_images_of_one_size_are_judged_in_full_batches_in_their_order(bench):
    from kdbench.openmmlab.data.loaders import EVALUATION_BATCH, evaluation_loader

    subject = bench.subject("gfl")
    loader = evaluation_loader(subject.dataset, bench.folder, subject.schedule, "train", 0)
    assert list(loader.batch_sampler) == [[0, 1, 2, 3, 4, 5]]
    assert loader.dataset.order == [0, 1, 2, 3, 4, 5]
    assert loader.batch_sampler.largest == EVALUATION_BATCH


def test_batches_end_where_the_size_changes():
    from kdbench.openmmlab.data.sampling import SameSize

    sizes = [(1, 1)] * 5 + [(2, 1)] + [(2, 2)] * 2
    batches = SameSize(range(8), sizes, 3)
    assert list(batches) == [[0, 1, 2], [3, 4], [5], [6, 7]]
    assert len(batches) == 4
