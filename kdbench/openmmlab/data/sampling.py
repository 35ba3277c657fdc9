"""Training images as a pure function of seed and position: the same for every method, worker count and resume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mmengine.dist import get_dist_info
from torch.utils.data import Dataset, Sampler

from kdbench.datasets.pictures import image_size
from kdbench.distill.randomness import seed_of, seeded
from kdbench.errors import UserError


class DataError(UserError):
    """A file of the dataset became unreadable.

    Args:
        message: One line. From a loader's worker process torch hands on a traceback that ends with it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition("DataError: ")[2].strip())


@contextmanager
def naming_bad_files(*files: str) -> Iterator[None]:
    """Where the block fails because a file cannot be read, raise DataError that names the file."""
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


class PositionSampler(Sampler[int]):
    """The positions 0, 1, 2, ... without end, dealt out over the processes of a distributed run.

    Args:
        size: Number of images: what mmengine takes for the length of an epoch.
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
        """Go on after ``samples`` positions of this process (mmengine calls it on resume)."""
        self.start += samples

    def __iter__(self) -> Iterator[int]:
        position = self.start * self.world_size + self.rank
        while True:
            yield position
            position += self.world_size


def grouped(
    order: npt.NDArray[np.int64], upright: Sequence[bool], batch_size: int, before: int
) -> npt.NDArray[np.int64]:
    """Bring images of one kind together in batches, each where its last image was.

    Args:
        order: Indices of an epoch's images.
        upright: Kind of each image.
        batch_size: Images of a batch.
        before: So many images belong to the last batch of the epoch before: they stay where they are.

    Returns:
        The same indices; those that fill no batch are at the end. With one kind alone they are as they were.
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
    """An image and its augmentation by position: each epoch a new permutation.

    Args:
        images: The dataset with its augmenting pipeline.
        seed: Seed of the run.
        batch_size: Images of a batch in all processes together.
        upright: Whether each image is higher than wide: batches hold images of one kind, but for the last ones
            of an epoch, so that little of them is padding. Empty: the order does not depend on it.
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
        """Index of the image at a position."""
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
