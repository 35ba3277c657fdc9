"""The order of images: the same for every method, number of loading processes and resumed run.

Training images are a pure function of seed and position; an evaluation has batches of images of one size, so that
none is padded for another's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mmcv import rescale_size
from mmengine.dist import get_dist_info
from torch.utils.data import Dataset, Sampler

from kdbench.datasets.pictures import Size, image_size
from kdbench.distill.randomness import seed_of, seeded
from kdbench.errors import UserError
from kdbench.specs import Schedule


class DataError(UserError):
    """A file of the dataset became unreadable.

    Args:
        message: One line. For a data loading process torch passes on a traceback that ends with it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition("DataError: ")[2].strip())


@contextmanager
def naming_bad_files(*files: str) -> Iterator[None]:
    """Raise DataError with the name of the file if the block fails because a file cannot be read."""
    try:
        yield
    except Exception as error:
        for file in files:
            try:
                image_size(Path(file), pixels=True)
            except ValueError as reason:
                raise DataError(
                    f"{file}: {reason}. `kdbench data verify --pixels` finds all such files."
                ) from error
        raise


def shown_size(path: str) -> Size:
    """Return the width and height of an image as it is shown. Raises DataError if it cannot be read."""
    try:
        return image_size(Path(path), pixels=False)
    except ValueError as reason:
        raise DataError(f"{path}: {reason}. `kdbench data verify` finds all such files.") from reason


class PositionSampler(Sampler[int]):
    """The positions 0, 1, 2, ... without end, divided among the processes of a distributed run.

    Args:
        size: Number of images, which mmengine uses as the length of an epoch.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.rank: int
        self.world_size: int
        self.rank, self.world_size = get_dist_info()
        self.start = 0

    def __len__(self) -> int:
        return self.size // self.world_size

    def skip(self, samples: int) -> None:
        """Skip ``samples`` positions of this process (mmengine calls it on resume)."""
        self.start += samples

    def __iter__(self) -> Iterator[int]:
        position = self.start * self.world_size + self.rank
        while True:
            yield position
            position += self.world_size


def grouped(
    order: npt.NDArray[np.int64], upright: Sequence[bool], batch_size: int, before: int
) -> npt.NDArray[np.int64]:
    """Group images of one orientation in batches, each at the place of its last image.

    Args:
        order: Indices of an epoch's images.
        upright: Whether each image is higher than wide.
        batch_size: Number of images in a batch.
        before: Number of images that belong to the last batch of the previous epoch, and so stay in place.

    Returns:
        The same indices, with those that fill no batch at the end; unchanged if there is one orientation.
    """
    found: list[int] = list(order[:before])
    waiting: dict[bool, list[int]] = {False: [], True: []}
    for index in order[before:]:
        group = waiting[upright[index]]
        group.append(index)
        if len(group) == batch_size:
            found += group
            group.clear()
    return np.array([*found, *waiting[False], *waiting[True]], dtype=np.int64)


class SeededImages(Dataset[Any]):
    """Augmented images by position, with a new permutation in each epoch.

    Args:
        images: The dataset with its augmenting pipeline.
        seed: Seed of the run.
        batch_size: Number of images in a batch of all processes together.
        upright: Whether each image is higher than wide: to save padding, batches hold images of one orientation,
            except the last ones of an epoch. Empty to ignore the orientation.
    """

    def __init__(self, images: Any, seed: int, batch_size: int = 1, upright: Sequence[bool] = ()) -> None:
        self.images = images
        self.seed = seed
        self.batch_size, self.upright = batch_size, upright
        self.metainfo = images.metainfo
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.images)

    def full_init(self) -> None:
        """Read the annotations (mmengine calls it)."""
        self.images.full_init()

    def index(self, position: int) -> int:
        """Return the index of the image at a position."""
        epoch, offset = divmod(position, len(self.images))
        if self._order[0] != epoch:
            self._order = epoch, self._epoch(epoch)
        return int(self._order[1][offset])

    def _epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the images of an epoch in their order."""
        order = np.random.default_rng(seed_of(self.seed, "order", epoch)).permutation(len(self.images))
        before = -epoch * len(order) % self.batch_size
        return grouped(order, self.upright, self.batch_size, before) if self.upright else order

    def __getitem__(self, position: int) -> Any:
        with seeded(self.seed, "image", position):
            return self.images[self.index(position)]


class SortedImages(Dataset[Any]):
    """A split's images sorted by resized size and then by path, whatever the order of the split's lists.

    Args:
        images: The OpenMMLab dataset with its evaluation pipeline.
        schedule: Determines how images are resized.
    """

    def __init__(self, images: Any, schedule: Schedule) -> None:
        paths, sizes = paths_of(images), sizes_of(images, schedule)
        self.order = sorted(range(len(images)), key=lambda index: (sizes[index], paths[index]))
        self.sizes = [sizes[index] for index in self.order]
        self.images, self.metainfo = images, images.metainfo

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Any:
        return self.images[self.order[position]]


class SameSize(Sampler[list[int]]):
    """Batches of consecutive positions whose images have one size.

    Args:
        positions: The positions in order (in a distributed run, those of this process).
        sizes: Size of the image at each position.
        largest: Largest number of images in a batch.
    """

    def __init__(self, positions: Sampler[int], sizes: Sequence[Size], largest: int) -> None:
        self.positions, self.sizes, self.largest = positions, sizes, largest

    def __iter__(self) -> Iterator[list[int]]:
        for _, group in groupby(self.positions, key=lambda position: self.sizes[position]):
            same = list(group)
            yield from (same[at : at + self.largest] for at in range(0, len(same), self.largest))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def sizes_of(images: Any, schedule: Schedule) -> list[Size]:
    """Return the width and height of each image of an OpenMMLab dataset after resizing.

    Raises:
        DataError: If a file cannot be read.
    """
    if not schedule.keep_ratio:
        return [schedule.scale] * len(images)
    if images.kept is not None:
        return [rescale_size(size, schedule.scale) for size in images.kept.sizes.tolist()]
    return _resized(paths_of(images), schedule.scale)


def paths_of(images: Any) -> tuple[str, ...]:
    """Return the files of an OpenMMLab dataset's images, without copying its entries as it does itself."""
    images.full_init()
    entries = map(images.get_data_info, range(len(images))) if images.serialize_data else images.data_list
    return tuple(str(entry["img_path"]) for entry in entries)


@lru_cache(maxsize=8)
def _resized(paths: tuple[str, ...], scale: Size) -> list[Size]:
    """Return width and height of each resized image. Raises DataError if a file cannot be read."""
    return [rescale_size(shown_size(path), scale) for path in paths]
