"""Weights whose rows follow the number of classes: which they are, and which rows stand for which classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import ConfigDict
from torch import Tensor

from kdbench.cards import Dataset
from kdbench.errors import UserError
from kdbench.openmmlab.checkpoints import load
from kdbench.openmmlab.complexity import on_meta
from kdbench.openmmlab.models import full_config
from kdbench.specs import Model, Schedule


@dataclass(frozen=True)
class ClassLayer:
    """How the rows of a weight follow from the number of classes: ``each * classes + beside``.

    Attributes:
        each: Rows of a class.
        beside: Further rows, for the background.
        together: Whether the rows of a class stand together, as in box regression; else there are ``each`` blocks,
            one an anchor, with a row for each class and then the background.
    """

    each: int
    beside: int
    together: bool

    def classes(self, rows: int) -> int:
        """Return the number of classes of a weight with so many rows."""
        return (rows - self.beside) // self.each

    def rows(self, taken: Sequence[int], classes: int) -> list[int]:
        """Return the rows of some classes, and of the background.

        Args:
            taken: Indices of the classes, in the order that they are to have.
            classes: Number of classes of the weight.
        """
        if self.together:
            return [index * self.each + row for index in taken for row in range(self.each)]
        background = self.beside // self.each
        block = [*taken, *range(classes, classes + background)]
        return [anchor * (classes + background) + row for anchor in range(self.each) for row in block]


def class_layers(model: Model, dataset: Dataset, schedule: Schedule) -> dict[str, ClassLayer]:
    """Return the weights of a model whose rows follow the number of classes, by name."""
    more = replace(dataset, classes=(*dataset.classes, "one more"))
    rows, others = (
        _rows(full_config(model, each, schedule, pretrained=False), each) for each in (dataset, more)
    )
    count, found = len(dataset.classes), {}
    for name, number in rows.items():
        each = others[name] - number
        if each:
            found[name] = ClassLayer(each, number - each * count, together="reg" in name.split(".")[-2])
    return found


def _rows(config: ConfigDict, dataset: Dataset) -> dict[str, int]:
    return {
        name: value.shape[0] for name, value in on_meta(config, dataset).state_dict().items() if value.ndim
    }


def classes_in(state: Mapping[str, Tensor], layers: Mapping[str, ClassLayer]) -> int | None:
    """Return the number of classes of a state dict; None where it has none of the layers."""
    return next((layer.classes(len(state[name])) for name, layer in layers.items() if name in state), None)


def rows_for(
    wanted: Mapping[str, str], dataset: Dataset, file: Path, layers: Mapping[str, ClassLayer]
) -> dict[str, list[int]]:
    """Return the rows of a checkpoint's weights that stand for a dataset's classes, by the weight's name.

    Args:
        wanted: Class of the dataset -> class of the checkpoint.
        dataset: Its classes are those of the model.
        file: The checkpoint.
        layers: The model's :func:`class_layers`.

    Raises:
        UserError: If the checkpoint does not name its classes, or has not all of those.
    """
    names = _class_names(file)
    if lacking := [name for name in wanted.values() if name not in names]:
        told = (
            f"has no class '{lacking[0]}': it has {', '.join(names)}"
            if names
            else "does not name its classes"
        )
        raise UserError(f"checkpoint {file} {told}.")
    taken = [names.index(wanted[name]) for name in dataset.classes]
    return {name: layer.rows(taken, len(names)) for name, layer in layers.items()}


def _class_names(file: Path) -> list[str]:
    """Return the classes that OpenMMLab writes beside the weights, in their order; none where it did not."""
    content = load(file)
    meta = content.get("meta") if isinstance(content, Mapping) else None
    meta = meta if isinstance(meta, Mapping) else {}
    of_dataset = meta.get("dataset_meta")
    of_dataset = of_dataset if isinstance(of_dataset, Mapping) else {}
    found = of_dataset.get("classes") or of_dataset.get("CLASSES") or meta.get("CLASSES") or ()
    return [found] if isinstance(found, str) else [str(name) for name in found]
