"""What a plugin may import: everything here, and nothing else of kdbench.

Importing this module does not import torch. The names that need it (``Method`` and the functions for losses) are
imported from ``kdbench.distill`` on first access. To keep a card light, import those names only in the method's
module. CHANGELOG.md lists every change of this interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdbench.cards import ExecutorCard, MethodCard, ModelCard, Options
from kdbench.dataset_cards import Dataset, MetricCard, Split
from kdbench.datasets.link import link_or_tell
from kdbench.errors import UserError
from kdbench.executors.base import Ended, Executor, Resources
from kdbench.hookspecs import hookimpl
from kdbench.selectors import method_of
from kdbench.specs import TASKS, Family, Model, Pair, Schedule, Task, TeacherStage, families_of, narrow

if TYPE_CHECKING:
    from kdbench.distill import (
        FAMILIES,
        Adapter,
        Assignment,
        Batch,
        Captures,
        Compression,
        FeatureNetwork,
        Hidden,
        Logits,
        Method,
        Predictions,
        Shape,
        Shapes,
        Spread,
        Step,
        Targets,
        adapter,
        as_rois,
        assign_levels,
        at_least_float32,
        coverage,
        gathered,
        largest_overlap,
        level_overlaps,
        masked,
        mean_or_zero,
        mean_square,
        overlaps,
        pooled_regions,
        reduced,
        region_means,
        resized,
        resized_labels,
        rows_of,
        stride_of,
        student_and_teacher,
        unit_vectors,
        valid_cells,
    )

__all__ = [
    "FAMILIES",
    "TASKS",
    "Adapter",
    "Assignment",
    "Batch",
    "Captures",
    "Compression",
    "Dataset",
    "Ended",
    "Executor",
    "ExecutorCard",
    "Family",
    "FeatureNetwork",
    "Hidden",
    "Logits",
    "Method",
    "MethodCard",
    "MetricCard",
    "Model",
    "ModelCard",
    "Options",
    "Pair",
    "Predictions",
    "Resources",
    "Schedule",
    "Shape",
    "Shapes",
    "Split",
    "Spread",
    "Step",
    "Targets",
    "Task",
    "TeacherStage",
    "UserError",
    "adapter",
    "as_rois",
    "assign_levels",
    "at_least_float32",
    "coverage",
    "families_of",
    "gathered",
    "hookimpl",
    "largest_overlap",
    "level_overlaps",
    "link_or_tell",
    "masked",
    "mean_or_zero",
    "mean_square",
    "method_of",
    "narrow",
    "overlaps",
    "pooled_regions",
    "reduced",
    "region_means",
    "resized",
    "resized_labels",
    "rows_of",
    "stride_of",
    "student_and_teacher",
    "unit_vectors",
    "valid_cells",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kdbench import distill

    return getattr(distill, name)


def __dir__() -> list[str]:
    return sorted(__all__)
