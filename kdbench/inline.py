"""Datasets and pairs that are defined in a benchmark file, without a plugin.

Paths are relative to the benchmark file. Once the file is loaded, its dataset and pairs are registered in this
process by name, like those of plugins; results identify them by their content.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from kdbench.dataset_cards import TASK_FORMATS, Dataset, Split
from kdbench.datasets import coco
from kdbench.datasets.hashed import HashIndex
from kdbench.errors import UserError
from kdbench.plugins import NAME, provide
from kdbench.specs import Family, Label, Model, Pair, Schedule, Spec, Task, is_feature_network

DEFAULTS = {
    "voc": "AP50",
    "coco": "mAP",
    "kitti": "AP40_moderate",
    "caltech": "MR",
    "widerface": "AP_hard",
    "ilsvrc": "AP_ILSVRC",
    "masks": "mIoU",
}
"""Format -> default ranking metric."""
Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


def _listed(value: Any) -> Any:
    """Put a single part of a split into a list."""
    return [value] if isinstance(value, dict) else value


class SplitPaths(Spec):
    """Location of a part of a split; paths are relative to the benchmark file."""

    images: str
    """Folder of the images."""
    annotations: str
    """The COCO json, or the folder of XML files or masks."""
    names: str = ""
    """Text file with one image per line; if empty, all images in the folder belong to the split."""


Parts = Annotated[tuple[SplitPaths, ...], Field(min_length=1), BeforeValidator(_listed)]


class InlineDataset(Spec):
    """A dataset in a benchmark file; :class:`kdbench.dataset_cards.Dataset` documents the other fields."""

    name: Name
    format: str
    train: Parts
    test: Parts
    val: Parts | None = None
    title: Label = ""
    classes: tuple[Label, ...] | None = None
    """Class names; default: those of the COCO json or of ``mask_values``."""
    metric: str | None = None
    image_suffix: str = ""
    mask_suffix: str = ".png"
    mask_values: dict[int | str, str | None] = Field(default_factory=dict)
    reduce_zero_label: bool = False
    """Whether 0 in masks means unlabelled and classes are counted from 1; short for such ``mask_values``."""
    ignore_index: int = 255
    license: Label = ""
    link: Label = ""
    citation: str = ""

    def card(self, folder: Path) -> Dataset:
        """Return the dataset's card.

        Args:
            folder: Folder of the benchmark file.

        Raises:
            UserError: If a value is invalid, or the classes cannot be read.
        """
        parts = {"train": self.train, "test": self.test, "val": self.val}
        own = {"name", "format", "image_suffix", "mask_suffix", "ignore_index", "license", "link", "citation"}
        try:
            return Dataset(
                **self.model_dump(include=own),
                title=self.title or self.name,
                task=self._task(),
                mask_values=self._mask_values(),
                classes=self.classes or self._classes(folder),
                metric=self.metric or DEFAULTS[self.format],
                splits={
                    name: tuple(Split(part.names, part.images, part.annotations) for part in split)
                    for name, split in parts.items()
                    if split is not None
                },
                prepare="kdbench.inline:nothing_to_prepare",
                folder=str(folder.resolve()),
            )
        except (TypeError, ValueError) as error:
            raise UserError(f"{error}.") from error

    def _task(self) -> Task:
        known = {name: task for task, names in TASK_FORMATS.items() for name in names}
        if self.format not in known:
            raise ValueError(f"the format of '{self.name}' is '{self.format}': give {' or '.join(known)}")
        return known[self.format]

    def _mask_values(self) -> dict[int | str, str | None]:
        if not self.reduce_zero_label:
            return self.mask_values
        if self.mask_values or not self.classes:
            raise ValueError(f"'{self.name}' has reduce_zero_label: give classes, and no mask_values")
        return {0: None, **dict(enumerate(self.classes, 1))}

    def _classes(self, folder: Path) -> tuple[str, ...]:
        if self.mask_values:
            return tuple(dict.fromkeys(name for name in self.mask_values.values() if name is not None))
        if self.format != "coco":
            raise ValueError(f"'{self.name}' names no classes: give them as a list")
        path = folder / self.train[0].annotations
        try:
            return _categories(path.resolve())
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
        except ValueError as error:
            raise UserError(f"{path}: {error}.") from error


def _categories(path: Path) -> tuple[str, ...]:
    """Return the classes of a COCO json, which is parsed where it has changed since; raises as its reader."""
    index = HashIndex(path)
    names = json.loads(index.hash_of(path, coco.classes_as_text))
    index.save()
    return tuple(names)


class InlineTeacher(Model):
    """A teacher in a benchmark file: a model, or a feature teacher from outside OpenMMLab."""

    config: str = ""
    features: str = ""
    """Instead of ``config``, for a feature teacher: ``SOURCE:NAME``, such as ``timm:convnext_tiny``."""
    out_indices: tuple[int | str, ...] = ()
    """Maps of ``features`` to use, as the source numbers or names them, finest first."""
    checkpoint: str | None = None
    """Weights: a file, a URL, or ``mmdet::NAME`` or ``mmseg::NAME``; None: the teacher is trained, once."""
    classes: dict[str, str] | None = None
    """Class of the dataset -> class of the checkpoint, whose outputs are cut to these. If None, a checkpoint with
    another number of classes is fine-tuned first, with ``teacher_schedule``."""

    def check_classes(self, pair: str, dataset: Dataset) -> None:
        """Check that the mapping covers exactly the dataset's classes. Raises UserError."""
        if self.classes is None:
            return
        if self.checkpoint is None:
            raise UserError(f"pair '{pair}': the teacher's classes are those of a checkpoint: give one.")
        if set(self.classes) != set(dataset.classes):
            names = ", ".join(dataset.classes)
            raise UserError(
                f"pair '{pair}': the teacher's classes must map each class of the dataset: {names}."
            )

    @model_validator(mode="after")
    def _is_a_model_or_gives_features(self) -> InlineTeacher:
        if bool(self.config) == bool(self.features) or bool(self.features) != bool(self.out_indices):
            raise ValueError("give either 'config', or 'features' and 'out_indices'")
        if self.features and not is_feature_network(self.features):
            raise ValueError(
                f"'{self.features}' names no source: write SOURCE:NAME, such as timm:{self.features}"
            )
        return self


class InlinePair(Spec):
    """A pair in a benchmark file; :class:`kdbench.specs.Pair` documents the other fields."""

    name: Name
    title: Label = ""
    family: Family | None = None
    teacher: InlineTeacher
    student: Model
    schedule: Schedule
    teacher_schedule: Schedule | None = None
    """The teacher's recipe; default: the students'."""
    pretrained: bool = False
    inherit: bool = False

    def pair(self, dataset: Dataset, folder: Path) -> Pair:
        """Return the pair on a dataset; ``folder`` is the benchmark file's. Raises UserError."""
        self.teacher.check_classes(self.name, dataset)
        return Pair(
            name=self.name,
            title=self.title or self.name,
            dataset=dataset.name,
            task=dataset.task,
            family="segmentation" if dataset.task == "segmentation" else self.family,
            teacher=_teacher(self.teacher, folder),
            student=_model(self.student, folder),
            schedule=self.schedule,
            teacher_schedule=self.teacher_schedule or self.schedule,
            pretrained=self.pretrained,
            inherit=self.inherit,
        )


class Inline(Spec):
    """The dataset and pairs that a benchmark file defines."""

    file: Path
    dataset: InlineDataset | None = None
    pairs: tuple[InlinePair, ...] = ()

    @property
    def folder(self) -> Path:
        """Folder that all paths in the file are relative to."""
        return self.file.parent

    def provide(self, dataset: Dataset | None) -> None:
        """Register the definitions in this process.

        Args:
            dataset: Card of the pairs' dataset, if the file does not define it.

        Raises:
            UserError: If a value is invalid, or a name is taken.
        """
        card = self.dataset.card(self.folder) if self.dataset else dataset
        assert card is not None, "the pairs have a dataset"
        provide(
            self.file, [card] if self.dataset else [], [one.pair(card, self.folder) for one in self.pairs]
        )

    def teacher(self, pair: str) -> InlineTeacher | None:
        """Return a pair's teacher, with its checkpoint relative to the current folder; None for other pairs."""
        found = next((one.teacher for one in self.pairs if one.name == pair), None)
        given = None if found is None else found.checkpoint
        if found is None or given is None or "::" in given or "://" in given:
            return found
        return found.model_copy(update={"checkpoint": str(self.folder / given)})


def _teacher(teacher: InlineTeacher, folder: Path) -> Model:
    """Return the teacher's model; the ``out_indices`` of a feature teacher become an edit."""
    if not teacher.features:
        return _model(teacher, folder)
    return Model(config=teacher.features, edits={**teacher.edits, "out_indices": list(teacher.out_indices)})


def _model(model: Model, folder: Path) -> Model:
    """Return a model whose config, if it is a file, is relative to the current folder."""
    config = model.config if "::" in model.config else os.path.relpath(folder / model.config)
    return Model(config=config, edits=model.edits, width=model.width, roi_stage=model.roi_stage)


def nothing_to_prepare(folder: Path, source: Path | None) -> None:
    """Raise a UserError that says where the benchmark file expects its dataset."""
    raise UserError(f"the dataset is in {folder}, where its benchmark file says: put its files there.")
