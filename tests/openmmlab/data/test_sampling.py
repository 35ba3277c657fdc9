from __future__ import annotations

from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch

from kdbench.errors import UserError
from kdbench.openmmlab.data import sampling
from kdbench.openmmlab.data.sampling import DataError, PositionSampler, SeededImages, naming_bad_files


class Numbers:
    """A dataset whose augmentation draws from all three generators."""

    def __init__(self, size):
        self.size = size
        self.metainfo = {"classes": ("a",)}

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return index, float(np.random.rand()), float(torch.rand(()))


def taken(sampler, count):
    return list(islice(iter(sampler), count))


def test_positions_are_endless_and_in_order():
    assert taken(PositionSampler(3), 8) == list(range(8))
    assert len(PositionSampler(3)) == 3


def test_skip_goes_on_where_it_stopped():
    sampler = PositionSampler(3)
    sampler.skip(4)
    assert taken(sampler, 3) == [4, 5, 6]
    sampler.skip(2)
    assert taken(sampler, 3) == [6, 7, 8]


def test_processes_partition_the_positions(monkeypatch):
    samplers = []
    for rank in range(3):
        monkeypatch.setattr(sampling, "get_dist_info", lambda rank=rank: (rank, 3))
        samplers.append(PositionSampler(10))
    parts = [taken(sampler, 5) for sampler in samplers]
    assert sorted(chain(*parts)) == list(range(15))
    assert parts[1] == [1, 4, 7, 10, 13]
    for sampler in samplers:
        sampler.skip(2)
    assert sorted(chain(*(taken(sampler, 2) for sampler in samplers))) == list(range(6, 12))
    assert [len(sampler) for sampler in samplers] == [3, 3, 3]


def test_each_epoch_is_a_new_permutation():
    images = SeededImages(Numbers(50), 0)
    epochs = [[images.index(epoch * 50 + i) for i in range(50)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert images.index(7) == epochs[0][7]


def test_an_image_depends_on_seed_and_position_alone():
    first, second, other = (
        SeededImages(Numbers(5), 0),
        SeededImages(Numbers(5), 0),
        SeededImages(Numbers(5), 1),
    )
    forward = [first[position] for position in range(12)]
    torch.rand(3)
    backward = [second[position] for position in reversed(range(12))]
    assert forward == backward[::-1]
    assert len({drawn for _, drawn, _ in forward}) == 12
    assert forward != [other[position] for position in range(12)]


def test_reading_an_image_disturbs_no_generator():
    images = SeededImages(Numbers(5), 0)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    images[4]
    assert torch.equal(torch.rand(2), expected)


def batches(bench, kind, workers, count):
    from kdbench.openmmlab.data.loaders import training_loader

    subject = bench.subject(kind)
    loader = training_loader(subject.dataset, bench.folder, subject.schedule, 0, workers)
    return [
        [
            (sample.img_path, sample.metainfo.get("flip"), image)
            for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True)
        ]
        for batch in islice(iter(loader), count)
    ]


@pytest.mark.parametrize("kind", ["gfl", "pspnet"])
def test_the_number_of_workers_changes_nothing(bench, kind):
    alone, beside = batches(bench, kind, 0, 5), batches(bench, kind, 2, 5)
    flips = set()
    for batch, same in zip(alone, beside, strict=True):
        assert len(batch) == 2
        for (path, flip, image), (path2, flip2, image2) in zip(batch, same, strict=True):
            assert (path, flip) == (path2, flip2)
            assert torch.equal(image, image2)
            flips.add(flip)
    assert flips == {True, False}


def test_a_bad_file_is_named(tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    from PIL import Image

    Image.new("RGB", (4, 4)).save(good)
    bad.write_bytes(good.read_bytes()[:30])
    told = pytest.raises(DataError, match=r"bad\.png: unreadable .*kdbench data verify")
    with told, naming_bad_files(str(good), str(bad)):
        raise AssertionError("failed to load image")
    told = pytest.raises(DataError, match=r"absent\.png: unreadable")
    with told, naming_bad_files(str(tmp_path / "absent.png")):
        raise FileNotFoundError
    with pytest.raises(KeyError, match="other"), naming_bad_files(str(good)):
        raise KeyError("other")


def test_a_workers_traceback_becomes_its_last_line():
    text = "Caught DataError in DataLoader worker process 0.\nOriginal:\n  x\nkdbench.DataError: a.png: bad\n"
    assert str(DataError(text)) == "a.png: bad"
    assert str(DataError("a.png: bad")) == "a.png: bad"
    assert issubclass(DataError, UserError)


@pytest.fixture
def broken(tmp_path):
    """Scenes of which one training image is no image."""
    from kdbench.datasets.digits_files import write

    write(tmp_path / "digits", {"train": 3, "test": 1}, 0)
    return tmp_path / "digits"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("gfl", "JPEGImages/train_0001.png"),
        ("pspnet", "JPEGImages/train_0001.png"),
        ("pspnet", "SegmentationClass/train_0002.png"),
    ],
)
def test_a_file_that_becomes_unreadable_stops_the_loading(bench, broken, kind, file, workers):
    from kdbench.openmmlab.data.loaders import training_loader

    subject = bench.subject(kind)
    loader = training_loader(subject.dataset, broken, subject.schedule, 0, workers)
    (broken / file).write_bytes(b"no image")
    batches = iter(loader)
    try:
        with pytest.raises(UserError) as caught:
            list(islice(batches, 2))
    finally:
        if workers:
            batches._shutdown_workers()  # the caught traceback would keep them for long
    told = str(caught.value)
    assert told.startswith(f"{Path(broken) / file}: unreadable")
    assert "\n" not in told


def test_a_file_that_is_gone_stops_the_evaluation(bench, broken, tmp_path):
    from kdbench.openmmlab.students import evaluate

    (broken / "JPEGImages" / "test_0000.png").unlink()
    subject = bench.subject("gfl")
    place = bench.place(tmp_path / "run", folder=broken)
    with pytest.raises(UserError, match=r"test_0000\.png: unreadable"):
        evaluate(subject.build(), subject, place)


UPRIGHT = [index % 3 == 0 for index in range(50)]


@pytest.mark.parametrize("batch_size", [1, 4, 8, 64])
def test_batches_hold_images_of_one_orientation(batch_size):
    images = SeededImages(Numbers(50), 0, batch_size, UPRIGHT)
    positions = [images.index(position) for position in range(150)]
    assert all(sorted(positions[begin : begin + 50]) == list(range(50)) for begin in (0, 50, 100))
    batches = [positions[at : at + batch_size] for at in range(0, 150, batch_size)]
    mixed = [batch for batch in batches if len({UPRIGHT[index] for index in batch}) == 2]
    assert len(mixed) <= 3 * 2
    if batch_size == 4:
        assert len(batches) - len(mixed) > 30
        alone = SeededImages(Numbers(50), 0)
        assert [alone.index(position) for position in range(150)] != positions


def test_images_of_one_orientation_keep_their_order():
    alone, same = SeededImages(Numbers(50), 0), SeededImages(Numbers(50), 0, 8, [False] * 50)
    assert [alone.index(at) for at in range(120)] == [same.index(at) for at in range(120)]


def test_a_detectors_batches_are_grouped_and_those_of_one_size_are_not(monkeypatch):
    from kdbench.openmmlab.data import loaders as data
    from kdbench.specs import Schedule

    monkeypatch.setattr(data, "sizes_of", lambda _images, _schedule: [(20, 30), (30, 20)])
    base = {"iterations": 1, "batch_size": 2, "lr": 0.1, "scale": (30, 30)}
    assert data.upright(None, Schedule(**base, keep_ratio=True)) == [True, False]
    assert data.upright(None, Schedule(**base)) == []
    assert data.upright(None, Schedule(**base, keep_ratio=True, crop=(16, 16))) == []
