"""Feature teachers: networks from outside OpenMMLab, as models that give feature maps and predict nothing."""

from __future__ import annotations

from typing import Any

from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS
from torch import Tensor, nn

from kdbench.distill.captures import Captures, Shape, Shapes
from kdbench.distill.features import FeatureNetwork, nearest_levels
from kdbench.errors import PluginError, UserError, running
from kdbench.openmmlab.models.configs import FEATURE_TEACHER
from kdbench.plugins import load_target, registry

MAPS = frozenset({"backbone", "neck"})
"""Captures that mean the same in every family. Both are the maps of a feature teacher."""


@MODELS.register_module(name=FEATURE_TEACHER)
class FeatureTeacher(nn.Module):
    """A network that gives feature maps, with its own normalisation.

    Args:
        features: ``SOURCE:NAME``.
        out_indices: The maps, as the source counts or names them, finest first.
        arguments: Further arguments of the source's function.

    Raises:
        UserError: If there is no such source or network, or it has no such maps.
    """

    def __init__(self, features: str, out_indices: list[Any] | None = None, **arguments: Any) -> None:
        super().__init__()
        if not isinstance(out_indices, list | tuple) or not out_indices:
            raise UserError(f"'{features}' needs a list of the maps that it is to give (`out_indices`).")
        made = network_of(features, list(out_indices), arguments)
        self.network, self.maps = made.network, made.maps
        self.data_preprocessor = ImgDataPreprocessor(mean=made.mean, std=made.std, bgr_to_rgb=True)
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (made.mean, made.std))
        indices = ", ".join(map(str, out_indices))
        self.origin = (
            f"{features} of {made.version}: maps {indices}; images of mean {mean} and deviation {std}"
        )

    def init_weights(self) -> None:
        """Nothing: the network came initialised."""

    def extract_feat(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of normalised images (B, 3, H, W)."""
        return tuple(self.maps(images))


def network_of(features: str, out_indices: list[Any], arguments: dict[str, Any]) -> FeatureNetwork:
    """Return the network of a source.

    Args:
        features: ``SOURCE:NAME``.
        out_indices: The maps that it is to give.
        arguments: Further arguments of the source's function.

    Raises:
        UserError: If there is no such source, or it cannot make the network.
    """
    source, _, name = features.partition(":")
    offer = registry().model(source)
    target = offer.value.features
    if not target:
        raise UserError(f"{offer.title} is no source of feature teachers: write its name alone.")
    make = load_target(offer.title, target)
    with running(offer.title, target):
        made = make(name, out_indices, **arguments)
    if not isinstance(made, FeatureNetwork):
        raise PluginError(f"{offer.title}: {target} returned no kdbench.api.FeatureNetwork")
    return made


def compared(student: Captures, teacher: Captures) -> Captures:
    """Return the student's maps with the levels that a feature teacher has: one for each of its maps.

    Args:
        student: The student's captures, of :data:`MAPS`.
        teacher: The feature teacher's.

    Raises:
        UserError: If the levels do not go together.
    """
    return {
        name: tuple(levels[at] for at in nearest_levels(levels, teacher[name]))
        for name, levels in student.items()
    }


def notes(teacher: FeatureTeacher, shapes: Shapes) -> list[str]:
    """Say where a feature teacher comes from, that nothing judges it, and which maps are compared."""
    lines = [f"teacher {teacher.origin}", "teacher not measured against chance: it gives feature maps alone"]
    for name in shapes.teacher:
        sizes = [f"{_size(ours)} and {_size(theirs)}" for ours, theirs in shapes.levels(name)]
        lines.append(f"maps compared, the student's {name} and the teacher's: {', '.join(sizes)}")
    return lines


def _size(shape: Shape) -> str:
    return f"{shape[-2]} x {shape[-1]}"
