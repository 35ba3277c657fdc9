"""The cards that plugins hand over: what a method or a dataset is, readable without importing torch.

A card checks itself when it is made, so that a mistake in it is found in the plugin that makes it.
"""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from kdbench.mask_values import fault_of
from kdbench.specs import TASKS, Family, Model, Pair, Task, TeacherStage, families_of, task_of

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
"""Metric -> the formats whose evaluation measures it, where not all of its task do."""
REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_weight(name: str) -> bool:
    """Whether an option is the weight of a term: ``weight`` and each ``..._weight``, also of a method of a sum."""
    return name.rpartition(".")[2] == "weight" or name.endswith("_weight")


class Options(BaseModel):
    """Options of a method: subclass it, give each field a default and a docstring, and a range by ``Field(ge=0)``.

    They are the method's command-line options (``mimic[weight=2]``) and part of a result's identity. An option
    ``weight`` or ``..._weight`` must not be negative.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    added_later: ClassVar[tuple[str, ...]] = ()
    """Options added later: left out of the identity at their defaults, so that old results stay valid."""
    typical: ClassVar[Mapping[str, float]] = {}
    """Options that are unset by default -> the value around which `kdbench tune` searches them."""
    plain: ClassVar[Mapping[str, Any]] = {}
    """Values at which a run equals the baseline student's, such as ``{"beta": 0.0}``; empty: ``weight`` and each
    ``..._weight`` at 0."""

    @field_validator("*")
    @classmethod
    def _is_no_negative_weight(cls, value: Any, info: ValidationInfo) -> Any:
        if is_weight(info.field_name or "") and isinstance(value, float | int) and value < 0:
            raise ValueError("a weight must not be negative")
        return value

    @property
    def ensemble(self) -> int:
        """Number of teachers, which differ in their seed."""
        return 1

    @property
    def settled(self) -> frozenset[str]:
        """Options that `kdbench tune` skips: without effect given the others, or too expensive to try."""
        return frozenset()

    def recorded(self) -> dict[str, Any]:
        """Return the options as the identity of a result holds them, JSON-able."""
        defaults = {name: type(self).model_fields[name].default for name in self.added_later}
        unset = {name for name, default in defaults.items() if getattr(self, name) == default}
        return self.model_dump(mode="json", exclude=unset)


def load_object(reference: str) -> Any:
    """Import what ``package.module:name`` points to."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class MethodCard:
    """A method as lists and reports describe it, before it is run.

    Attributes:
        name: Name on the command line: lower case, digits and dashes.
        title: Title of the paper.
        authors: Authors, comma separated.
        year: Year of publication.
        link: Address of the paper.
        bibtex: Entry to cite.
        tasks: Tasks that it can distil.
        equations: The loss in words and symbols, with the choices made where the paper is silent.
        method: ``package.module:Class`` of the ``kdbench.api.Method``, imported when it is run.
        options: Class of its options.
        variants: Name -> meaning, for methods with an option ``variant``.
        reported: CSV file of the published numbers, or None. Its columns: paper, table, dataset, teacher, student,
            variant, metric, value, source (P: the paper, D: computed from a printed difference, C: a public
            implementation, N: a note), and a note if needed. ``variant`` is ``plain`` for the paper's plain
            student, ``teacher`` (a row without a student), or the option ``variant``; a method without that option
            writes the options that differ from their defaults as in a selector (``where=logits``), and nothing for
            the defaults. A metric has the name that kdbench gives it (AP50, mAP, mIoU) where it has one.
        teacher_stage: What these options ask of the teacher: a further fine-tuning, made once and kept beside the
            teacher, or None for the teacher as it is.
        revision: Raise it when a change of the code alters results: cells of another revision are other cells. A
            new version of the package that leaves results as they are keeps it.
        directional: Why a mirrored batch gives other losses, where the paper means it so; empty: it gives the same.
        families: Families of models in which at least one of its variants works, for lists and the guide; empty:
            not told. A run looks at what the method captures instead.
        attends: What ``kdbench show-mask`` draws of it, in a few words; empty: nothing.
        compression: Of a compression, which makes the student from the trained teacher and adds no loss: the model
            of its student, from the options and the pair. Its class is a ``kdbench.api.Compression``. None for a
            method that distils.
    """

    name: str
    title: str
    authors: str
    year: int
    link: str
    bibtex: str
    tasks: tuple[Task, ...]
    equations: str
    method: str
    options: type[Options] = Options
    variants: Mapping[str, str] = field(default_factory=dict)
    reported: Path | None = None
    teacher_stage: Callable[[Options], TeacherStage | None] | None = None
    revision: int = 1
    directional: str = ""
    families: tuple[Family, ...] = ()
    attends: str = ""
    compression: Callable[[Options, Pair], Model] | None = None

    def __post_init__(self) -> None:
        _check_options(self)
        if not isinstance(self.tasks, tuple) or not self.tasks or not set(self.tasks) <= set(TASKS):
            raise ValueError(
                f"the tasks of '{self.name}' are {self.tasks}: give a tuple of {', '.join(TASKS)}"
            )
        _check_families(self)
        if self.reported is not None and not self.reported.is_file():
            raise ValueError(f"the reported numbers of '{self.name}' are not there: {self.reported}")
        if type(self.revision) is not int or self.revision < 1:
            raise ValueError(f"the revision of '{self.name}' is {self.revision!r}: give a number from 1 on")

    @property
    def kind(self) -> Literal["distillation", "compression"]:
        """Whether it adds a loss to the student's training, or makes the student."""
        return "distillation" if self.compression is None else "compression"

    def published(self) -> list[dict[str, str]]:
        """Return the published numbers, one dict for each row of ``reported``."""
        if self.reported is None:
            return []
        with self.reported.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@dataclass(frozen=True)
class Split:
    """Where one part of a split lies, relative to the dataset's folder.

    Attributes:
        names: Text file with one image a line (its stem, or a path that ends in it). Empty where the annotations
            name the images (``coco``, ``widerface``), or all images in the folder belong to the split.
        images: Folder of the images.
        annotations: Folder of the images' annotations or masks; where one file has all, that file.
        take: Of the named images ``all``, or one side of ``kdbench.datasets.holdout``.
    """

    names: str
    images: str
    annotations: str
    take: Literal["all", "kept", "held-out"] = "all"

    @property
    def listing(self) -> str:
        """The file that names the images."""
        return self.names or self.annotations


@dataclass(frozen=True)
class Dataset:
    """A dataset's card.

    Attributes:
        name: Name on the command line.
        title: One line for humans.
        task: ``detection`` or ``segmentation``.
        classes: Class names; in masks the index is the position here.
        metric: Metric that ranks, see ``kdbench list metrics``: ``AP50`` (area under the curve), ``AP50_11point``,
            ``mAP`` (COCO's), ``AP40_moderate`` (KITTI's), ``MR`` (Caltech's), ``mIoU``, or one of a plugin that can
            rank.
        splits: ``train`` and ``test``, and ``val`` where there is one; several parts are concatenated.
        image_suffix: Ending of the image files; empty where names have it (``coco``).
        prepare: ``package.module:function(folder, source)`` that gets or links the data.
        folder: Folder under the data root (two datasets may share one).
        license: Licence of the data, in words.
        link: Where it comes from.
        citation: What to cite.
        ignore_index: Mask value that is not judged (segmentation only).
        mask_suffix: Ending of the mask files (segmentation only).
        mask_values: Value in a mask -> the class that it stands for, or None where it is not judged (segmentation
            only): a number up to 65535 or a colour ``#rrggbb``. The number ``ignore_index`` needs no entry. Empty:
            a value is the position of its class. ``{0: None, 1: "wall", 2: ...}`` is mmseg's reduce_zero_label.
        format: ``voc`` (an XML an image; default for detection), ``ilsvrc`` (the same), ``coco`` (a json a split),
            ``kitti`` or ``caltech`` (a text an image), ``widerface`` (a text a split), or ``masks`` (default for
            segmentation).
        images: Split -> number of its images as published, where that is known.
        embedded: True where ``prepare`` needs neither a download nor a source: a run may call it by itself.
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
        _check_reference(self.name, "prepare", self.prepare)
        if self.task not in TASKS:
            raise ValueError(f"the task of '{self.name}' is {self.task!r}: give {' or '.join(TASKS)}")
        if self.layout not in TASK_FORMATS[self.task]:
            known = " or ".join(TASK_FORMATS[self.task])
            raise ValueError(f"the format of '{self.name}' is {self.format!r}: give {known}")
        if self.metric in METRICS and self.metric not in (fitting := self._own_metrics()):
            raise ValueError(f"the metric of '{self.name}' is {self.metric!r}: give {' or '.join(fitting)}")
        if not _is_tuple(self.classes, str) or not self.classes:
            raise TypeError(f"the classes of '{self.name}' are {self.classes!r}: give a tuple of names")
        judged = len(self.classes) - (self.ignore_index in range(len(self.classes)))
        if self.task == "segmentation" and judged < 2:
            raise ValueError(f"'{self.name}' has one class to tell apart: name the background as a class too")
        if self.mask_values and (fault := fault_of(self.mask_values, self.classes, self.ignore_index)):
            raise ValueError(f"mask_values of '{self.name}': {fault}")
        if not isinstance(self.splits, Mapping) or not {"train", "test"} <= set(self.splits):
            raise ValueError(f"the splits of '{self.name}' lack 'train' or 'test'")
        for name, parts in self.splits.items():
            if not _is_tuple(parts, Split) or not parts:
                raise TypeError(f"the split '{name}' of '{self.name}' is not a tuple of kdbench.api.Split")

    @property
    def layout(self) -> str:
        """The format, or the default of the task."""
        return self.format or TASK_FORMATS[self.task][0]

    def _own_metrics(self) -> list[str]:
        """Return the metrics that kdbench's own evaluation of such a dataset measures."""
        fitting = [name for name, card in METRICS.items() if self.task in card.tasks]
        return [name for name in fitting if self.layout in MEASURED.get(name, (self.layout,))]


@dataclass(frozen=True)
class ModelCard:
    """A network under a name, for ``--teacher``, ``--student`` and ``kdbench evaluate``; or a source of teachers.

    Attributes:
        name: Name on the command line: lower case, digits and dashes.
        title: One line for humans.
        task: What it does; None for a source of feature teachers.
        config: ``package::file``: the OpenMMLab config in the package's folder. Its ``custom_imports`` names the
            modules that register the network, and its ``revise_keys`` says how weights in others' checkpoints are
            renamed, as mmengine's ``load_checkpoint`` takes it.
        link: Where the network comes from.
        citation: What to cite.
        features: In the place of ``config``, of a source of feature teachers ``NAME:NETWORK``:
            ``package.module:function(network, out_indices, **arguments)``, which returns the
            ``kdbench.api.FeatureNetwork``. It must download nothing, and the same name must always be the same
            network.
    """

    name: str
    title: str
    task: Task | None
    config: str = ""
    link: str = ""
    citation: str = ""
    features: str = ""

    def __post_init__(self) -> None:
        if self.features:
            _check_reference(self.name, "features", self.features)
            if self.config or self.task is not None:
                raise ValueError(
                    f"'{self.name}' is a source of feature teachers: it has no config and no task"
                )
            return
        if self.task not in TASKS:
            raise ValueError(f"the task of '{self.name}' is {self.task!r}: give {' or '.join(TASKS)}")
        if "::" not in self.config:
            raise ValueError(f"the config of '{self.name}' is {self.config!r}: give 'package::file'")


@dataclass(frozen=True)
class ExecutorCard:
    """A way to run the workers of a sweep.

    Attributes:
        name: Name on the command line.
        title: One line for humans.
        target: ``package.module:Class`` of the ``kdbench.api.Executor``.
        requires: Modules that must be installed for it.
        install: Command that installs them.
        options: Class of its options, ``ray[address=auto]``; the target's class takes them as keyword arguments.
    """

    name: str
    title: str
    target: str
    requires: tuple[str, ...] = ()
    install: str = ""
    options: type[Options] = Options

    def __post_init__(self) -> None:
        _check_options(self)
        _check_reference(self.name, "target", self.target)
        if not _is_tuple(self.requires, str):
            raise TypeError(f"what '{self.name}' requires is {self.requires!r}: give a tuple of modules")


@dataclass(frozen=True)
class MetricCard:
    """A metric: a fraction in [0, 1], shown x100, that ranks datasets or stands beside what does.

    One with ``tasks`` ranks the datasets that name it. It is measured at each evaluation and is part of the record.
    Any other is a further column ``metric:NAME`` of the leaderboards, computed when one is made: old results have
    it too.

    Attributes:
        name: Its name: letters, digits, dashes and underscores.
        title: One line for humans.
        function: ``package.module:function``, which is given the other metrics of an evaluation, name -> fraction
            (``AP50``, ``AP50/CLASS``, ``mIoU``, ``IoU/CLASS``), and returns a fraction in [0, 1], or None where
            these metrics do not give one. Imports no torch. Empty for what kdbench's own evaluation measures.
        higher_is_better: Whether more is better. Ranks, differences, the share of the gap and verdicts follow it.
        tasks: Tasks of the datasets that it can rank; empty where it ranks nothing.
    """

    name: str
    title: str
    function: str
    higher_is_better: bool = True
    tasks: tuple[Task, ...] = ()

    def __post_init__(self) -> None:
        if self.function:
            _check_reference(self.name, "function", self.function)
        if not _is_tuple(self.tasks, str) or not set(self.tasks) <= set(TASKS):
            raise ValueError(
                f"the tasks of '{self.name}' are {self.tasks}: give a tuple of {', '.join(TASKS)}"
            )


def _check_options(card: MethodCard | ExecutorCard) -> None:
    if not (isinstance(card.options, type) and issubclass(card.options, Options)):
        raise TypeError(f"the options of '{card.name}' are not a subclass of kdbench.api.Options")


def _check_families(card: MethodCard) -> None:
    known, given = families_of(*card.tasks), card.families
    each = not given or {task_of(family) for family in given} == set(card.tasks)
    if not isinstance(given, tuple) or not set(given) <= set(known) or not each:
        told = f"give a tuple of {', '.join(known)}, of each task one at least"
        raise ValueError(f"the families of '{card.name}' are {given}: {told}")


def _check_reference(name: str, field: str, value: object) -> None:
    if not isinstance(value, str) or REFERENCE.fullmatch(value) is None:
        raise ValueError(f"the {field} of '{name}' is {value!r}: give 'package.module:name'")


def _is_tuple(values: object, kind: type) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, kind) for value in values)


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
"""Name -> metric that kdbench's own evaluation measures and that can rank."""
