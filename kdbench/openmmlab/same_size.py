"""An evaluation judges each image beside images of its own size, so that none is padded for another's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from mmcv import rescale_size
from torch.utils.data import Dataset, Sampler

from kdbench.datasets.pictures import Size
from kdbench.openmmlab.packed import paths_of, shown_size
from kdbench.specs import Schedule


class SortedImages(Dataset[Any]):
    """A split's images by size after resizing, and by path among those of one size, whatever order its lists have.

    Args:
        images: The OpenMMLab dataset with its evaluation pipeline.
        schedule: Says how images are resized.
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
        positions: The positions in order (of this process, in a distributed run).
        sizes: Size of the image at each position.
        largest: Images in a batch, at most.
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


@lru_cache(maxsize=8)
def _resized(paths: tuple[str, ...], scale: Size) -> list[Size]:
    """Width and height of each image after resizing. Raises DataError where a file cannot be read."""
    return [rescale_size(shown_size(path), scale) for path in paths]
