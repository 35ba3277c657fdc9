"""Caches the entries of a large split, packed into bytes, until a file of the dataset changes."""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.dataset_cards import Dataset
from kdbench.datasets.checked import Checked, code_of, file_of, known
from kdbench.files import write_atomically
from kdbench.openmmlab.data.sampling import paths_of, shown_size

LARGE = 20_000
"""Least number of images for a split to be packed, so that data loading processes share its entries.

mmengine runs a garbage collection for that, which takes half a second."""


@dataclass(frozen=True)
class Packed:
    """The packed entries of an OpenMMLab dataset.

    Attributes:
        data: The entries one after the other, as mmengine serialises them.
        ends: End of each entry, in bytes.
        sizes: Width and height of each image as it is shown, of shape (images, 2).
    """

    data: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


class FromCache:
    """A mixin for OpenMMLab datasets that take their entries from a :class:`Packed`, if there is one."""

    kept: Packed | None
    serialize_data: bool
    _fully_initialized: bool

    def full_init(self) -> None:
        """Read the annotations (mmengine calls it)."""
        if self.kept is not None and not self._fully_initialized:
            self.data_list: list[Any] = []
            self.data_bytes, self.data_address = self.kept.data, self.kept.ends
            self.serialize_data = self._fully_initialized = True
        super().full_init()  # type: ignore[misc]


def read(dataset: Dataset, folder: Path, split: str) -> Packed | None:
    """Return the cached entries of a split; None if there are none, or a file has changed since."""
    file = _file(dataset, folder, split)
    if not file.is_file() or (found := known(dataset, folder)) is None:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(file) as arrays:
        if str(arrays["of"]) == _key(found):
            return Packed(arrays["data"], arrays["ends"], arrays["sizes"])
    return None


def write(dataset: Dataset, folder: Path, split: str, images: Any) -> Packed:
    """Cache the entries of a split whose files were checked, and return them.

    Args:
        dataset: The dataset's card.
        folder: Its folder.
        split: Name of the split.
        images: The OpenMMLab dataset with serialised entries.

    Raises:
        DataError: If an image cannot be read.
    """
    sizes = [shown_size(path) for path in paths_of(images)]
    made = Packed(images.data_bytes, images.data_address, np.array(sizes, dtype=np.int64))
    found, file = known(dataset, folder), _file(dataset, folder, split)
    if found is not None:
        arrays = {"data": made.data, "ends": made.ends, "sizes": made.sizes, "of": _key(found)}
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, partial(_save, arrays), lasting=False)
    return made


def _save(arrays: dict[str, Any], file: Any) -> None:
    np.savez(file, **arrays)


def _key(found: Checked) -> str:
    """Return the key of cached entries: the content of the dataset and the code of this package."""
    return f"{found.fingerprint} {code_of(Path(__file__).parent)}"


def _file(dataset: Dataset, folder: Path, split: str) -> Path:
    checked = file_of(dataset, folder)
    return checked.with_name(f"{checked.stem}-{split}.npz")
