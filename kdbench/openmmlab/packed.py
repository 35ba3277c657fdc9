"""The entries of a large split, packed into bytes once and kept in the user's cache while no file changes."""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdbench.cards import Dataset
from kdbench.datasets.checked import Checked, code_of, file_of, known
from kdbench.datasets.pictures import Size, image_size
from kdbench.files import write_atomically
from kdbench.openmmlab.sampling import DataError

LARGE = 20_000
"""Images from which on the entries of a split are packed, so that loading processes share them.

Mmengine collects all garbage of the process for that, which takes half a second."""


@dataclass(frozen=True)
class Packed:
    """What an OpenMMLab dataset holds.

    Attributes:
        data: Its entries one after the other, as mmengine serialises them.
        ends: Where each ends, in bytes.
        sizes: Width and height of each image as it is shown, of shape (images, 2).
    """

    data: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


class Keeping:
    """The part of an OpenMMLab dataset that takes its entries from a :class:`Packed`, where there is one."""

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
    """Return the entries of a split as they were kept; None where there are none, or a file has changed since."""
    file = _file(dataset, folder, split)
    if not file.is_file() or (found := known(dataset, folder)) is None:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(file) as arrays:
        if str(arrays["of"]) == _of(found):
            return Packed(arrays["data"], arrays["ends"], arrays["sizes"])
    return None


def write(dataset: Dataset, folder: Path, split: str, images: Any) -> Packed:
    """Keep the entries of a split whose files were checked, and return them.

    Args:
        dataset: The dataset's card.
        folder: Its folder.
        split: Name of the split.
        images: The OpenMMLab dataset of it, whose entries are serialised.

    Raises:
        DataError: If an image cannot be read.
    """
    sizes = [shown_size(path) for path in paths_of(images)]
    made = Packed(images.data_bytes, images.data_address, np.array(sizes, dtype=np.int64))
    found, file = known(dataset, folder), _file(dataset, folder, split)
    if found is not None:
        arrays = {"data": made.data, "ends": made.ends, "sizes": made.sizes, "of": _of(found)}
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, partial(_save, arrays), lasting=False)
    return made


def _save(arrays: dict[str, Any], file: Any) -> None:
    np.savez(file, **arrays)


def _of(found: Checked) -> str:
    """Name what entries were made of and by: the content of the dataset, and the code of this room."""
    return f"{found.fingerprint} {code_of(Path(__file__).parent)}"


def _file(dataset: Dataset, folder: Path, split: str) -> Path:
    checked = file_of(dataset, folder)
    return checked.with_name(f"{checked.stem}-{split}.npz")


def paths_of(images: Any) -> tuple[str, ...]:
    """Return the files of an OpenMMLab dataset's images, without copying its entries as it does itself."""
    images.full_init()
    entries = map(images.get_data_info, range(len(images))) if images.serialize_data else images.data_list
    return tuple(str(entry["img_path"]) for entry in entries)


def shown_size(path: str) -> Size:
    """Return the width and height of an image as it is shown. Raises DataError where it cannot be read."""
    try:
        return image_size(Path(path), pixels=False)
    except ValueError as reason:
        raise DataError(f"{path}: {reason}. `kdbench data verify` finds all such files.") from reason
