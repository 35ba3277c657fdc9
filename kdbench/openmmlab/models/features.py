"""Feature teachers: networks from outside OpenMMLab that output feature maps and predict nothing."""

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
"""Captures that mean the same in every family; both are the maps of a feature teacher."""


@MODELS.register_module(name=FEATURE_TEACHER)
class FeatureTeacher(nn.Module):
    """A network that outputs feature maps, with its own normalisation.

    Args:
        features: ``SOURCE:NAME``.
        out_indices: The maps by the source's numbers or names, finest first.
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
        """Do nothing: the network is initialised already."""

    def extract_feat(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of normalised images (B, 3, H, W)."""
        return tuple(self.maps(images))


def network_of(features: str, out_indices: list[Any], arguments: dict[str, Any]) -> FeatureNetwork:
    """Return the network of a source.

    Args:
        features: ``SOURCE:NAME``.
        out_indices: The wanted maps.
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


def matching_levels(student: Captures, teacher: Captures) -> Captures:
    """Return the student's level for each map of a feature teacher.

    Args:
        student: The student's captures, of :data:`MAPS`.
        teacher: The feature teacher's.

    Raises:
        UserError: If the levels do not match.
    """
    return {
        name: tuple(levels[at] for at in nearest_levels(levels, teacher[name]))
        for name, levels in student.items()
    }


def notes(teacher: FeatureTeacher, shapes: Shapes) -> list[str]:
    """Describe a feature teacher's origin and the maps that are compared; nothing measures it."""
    lines = [f"teacher {teacher.origin}", "teacher not measured against chance: it gives feature maps alone"]
    for name in shapes.teacher:
        sizes = [f"{_size(ours)} and {_size(theirs)}" for ours, theirs in shapes.levels(name)]
        lines.append(f"maps compared, the student's {name} and the teacher's: {', '.join(sizes)}")
    return lines


def _size(shape: Shape) -> str:
    return f"{shape[-2]} x {shape[-1]}"
