"""Cards of datasets and of the metrics that rank them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kdbench.cards import check_reference, is_tuple_of
from kdbench.mask_values import fault_of
from kdbench.specs import TASKS, Task
from kdbench.text import unfit

TASK_FORMATS: Mapping[Task, tuple[str, ...]] = {
    "detection": ("voc", "coco", "kitti", "caltech", "widerface", "ilsvrc"),
    "segmentation": ("masks",),
}
"""Task -> formats of its datasets, the default first."""
MEASURED = {
    "AP50": ("voc", "coco"),
    "AP50_11point": ("voc",),
    "mAP": ("coco",),
    "AP40_moderate": ("kitti",),
    "AP11_moderate": ("kitti",),
    "MR": ("caltech",),
    "AP_ILSVRC": ("ilsvrc",),
    "AP_easy": ("widerface",),
    "AP_medium": ("widerface",),
    "AP_hard": ("widerface",),
}
"""Metric -> the formats whose evaluation computes it, if only some of its task's formats do."""


@dataclass(frozen=True)
class Split:
    """Location of one part of a split; paths are relative to the dataset's folder.

    Attributes:
        names: Text file with one image per line (its stem, or a path that ends in it). Empty if the annotations
            name the images (``coco``, ``widerface``), or if all images in the folder belong to the split.
        images: Folder of the images.
        annotations: Folder of the annotations or masks, or the file that has all annotations.
        take: Which of the named images to use: ``all``, or one side of ``kdbench.datasets.holdout``.
    """

    names: str
    images: str
    annotations: str
    take: Literal["all", "kept", "held-out"] = "all"

    @property
    def listing(self) -> str:
        """File that lists the images."""
        return self.names or self.annotations


@dataclass(frozen=True)
class Dataset:
    """A dataset's card.

    Attributes:
        name: Name on the command line.
        title: One line for humans.
        task: ``detection`` or ``segmentation``.
        classes: Class names; their positions are the class numbers in masks.
        metric: Ranking metric, see ``kdbench list metrics``: ``AP50`` (area under the curve), ``AP50_11point``,
            ``mAP`` (COCO's), ``AP40_moderate`` (KITTI's), ``MR`` (Caltech's), ``mIoU``, or a plugin's metric that
            can rank.
        splits: ``train``, ``test`` and optionally ``val``; the parts of a split are concatenated.
        image_suffix: Ending of the image files; empty if the names include it (``coco``).
        prepare: ``package.module:function(folder, source)`` that downloads, generates or links the data.
        folder: Folder under the data root (two datasets may share one).
        license: Licence of the data, in words.
        link: URL of the dataset's page.
        citation: What to cite.
        ignore_index: Mask value that is left out of training and evaluation (segmentation only).
        mask_suffix: Ending of the mask files (segmentation only).
        mask_values: Mask value -> class name, or None if it is left out of training and evaluation (segmentation
            only). A value is a number up to 65535 or a colour ``#rrggbb``; ``ignore_index`` needs no entry. Empty:
            mask values are class numbers. ``{0: None, 1: "wall", 2: ...}`` is mmseg's reduce_zero_label.
        format: ``voc`` (one XML per image; default for detection), ``ilsvrc`` (the same), ``coco`` (one json per
            split), ``kitti`` or ``caltech`` (one text file per image), ``widerface`` (one text file per split), or
            ``masks`` (default for segmentation).
        images: Split -> published number of images, if known.
        embedded: Whether ``prepare`` needs neither a download nor a source, so that a run may call it
            automatically.
    """

    name: str
    title: str
    task: Task
    classes: tuple[str, ...]
    metric: str
    splits: Mapping[str, tuple[Split, ...]]
    image_suffix: str
    prepare: str
    folder: str
    license: str
    link: str
    citation: str
    ignore_index: int = 255
    mask_suffix: str = ".png"
    embedded: bool = False
    format: str = ""
    mask_values: Mapping[int | str, str | None] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_reference(self.name, "prepare", self.prepare)
        if self.task not in TASKS:
            raise ValueError(f"the task of '{self.name}' is {self.task!r}: give {' or '.join(TASKS)}")
        if self.layout not in TASK_FORMATS[self.task]:
            known = " or ".join(TASK_FORMATS[self.task])
            raise ValueError(f"the format of '{self.name}' is {self.format!r}: give {known}")
        if self.metric in METRICS and self.metric not in (fitting := self._own_metrics()):
            raise ValueError(f"the metric of '{self.name}' is {self.metric!r}: give {' or '.join(fitting)}")
        _check_classes(self.name, self.classes)
        judged = len(self.classes) - (self.ignore_index in range(len(self.classes)))
        if self.task == "segmentation" and judged < 2:
            raise ValueError(f"'{self.name}' has one class to tell apart: name the background as a class too")
        if self.mask_values and (fault := fault_of(self.mask_values, self.classes, self.ignore_index)):
            raise ValueError(f"mask_values of '{self.name}': {fault}")
        if not isinstance(self.splits, Mapping) or not {"train", "test"} <= set(self.splits):
            raise ValueError(f"the splits of '{self.name}' lack 'train' or 'test'")
        for name, parts in self.splits.items():
            if not is_tuple_of(parts, Split) or not parts:
                raise TypeError(f"the split '{name}' of '{self.name}' is not a tuple of kdbench.api.Split")

    @property
    def layout(self) -> str:
        """The format, or the task's default."""
        return self.format or TASK_FORMATS[self.task][0]

    def _own_metrics(self) -> list[str]:
        """Return the metrics that kdbench's own evaluation computes for this task and format."""
        fitting = [name for name, card in METRICS.items() if self.task in card.tasks]
        return [name for name in fitting if self.layout in MEASURED.get(name, (self.layout,))]


@dataclass(frozen=True)
class MetricCard:
    """A metric in [0, 1], shown x100, which either ranks datasets or is an additional column.

    A metric with ``tasks`` ranks the datasets that name it; it is computed at each evaluation and stored in the
    record. Any other metric is a column ``metric:NAME`` that is computed whenever a leaderboard is made, so that
    old results have it too.

    Attributes:
        name: Letters, digits, dashes and underscores.
        title: One line for humans.
        function: ``package.module:function``, which takes the other metrics of an evaluation, name -> fraction
            (``AP50``, ``AP50/CLASS``, ``mIoU``, ``IoU/CLASS``), and returns a fraction in [0, 1], or None if it
            cannot be computed from these. It must not import torch. Empty for metrics of kdbench's own evaluation.
        higher_is_better: Whether more is better; ranks, differences, gap closed and verdicts depend on it.
        tasks: Tasks of the datasets that the metric can rank; empty if it ranks none.
    """

    name: str
    title: str
    function: str
    higher_is_better: bool = True
    tasks: tuple[Task, ...] = ()

    def __post_init__(self) -> None:
        if self.function:
            check_reference(self.name, "function", self.function)
        if not is_tuple_of(self.tasks, str) or not set(self.tasks) <= set(TASKS):
            raise ValueError(
                f"the tasks of '{self.name}' are {self.tasks}: give a tuple of {', '.join(TASKS)}"
            )


def _check_classes(name: str, classes: object) -> None:
    """Refuse what are no names, or not each another: of two of one name the first would never be seen."""
    if not is_tuple_of(classes, str) or not classes:
        raise TypeError(f"the classes of '{name}' are {classes!r}: give a tuple of names")
    for one in classes:
        fault = (
            unfit(one)
            or (not one.strip() and "it is empty")
            or (classes.count(one) > 1 and "it stands twice")
        )
        if fault:
            raise ValueError(f"class {one!r} of '{name}': {fault}")


def _measured(name: str, task: Task, title: str, *, higher_is_better: bool = True) -> MetricCard:
    return MetricCard(name, title, "", higher_is_better=higher_is_better, tasks=(task,))


METRICS: Mapping[str, MetricCard] = {
    card.name: card
    for card in (
        _measured("AP50", "detection", "AP at IoU 0.5: area under the curve, or COCO's of a COCO json"),
        _measured("AP50_11point", "detection", "VOC 2007's AP at IoU 0.5, at 11 recalls"),
        _measured("mAP", "detection", "COCO's AP, the mean over IoU 0.50 to 0.95"),
        _measured("AP40_moderate", "detection", "KITTI's AP at 40 recalls, moderate level"),
        _measured("AP11_moderate", "detection", "KITTI's AP at 11 recalls, moderate level"),
        _measured("MR", "detection", "Caltech's log-average miss rate, Reasonable", higher_is_better=False),
        _measured("AP_ILSVRC", "detection", "ILSVRC's AP, at IoU 0.5 or less for small boxes"),
        _measured("AP_easy", "detection", "WIDER FACE's AP, easy subset"),
        _measured("AP_medium", "detection", "WIDER FACE's AP, medium subset"),
        _measured("AP_hard", "detection", "WIDER FACE's AP, hard subset"),
        _measured("mIoU", "segmentation", "Mean IoU over the classes"),
        _measured("pixel_accuracy", "segmentation", "Share of pixels that are right"),
    )
}
"""Name -> metric of kdbench's own evaluation that can rank datasets."""
