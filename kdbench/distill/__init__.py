"""How methods work: the contract, captures, adapters, losses. Pure torch, no OpenMMLab.

Plugins import these names from ``kdbench.api``.
"""

from kdbench.distill.adapters import Adapter, adapter, resized, resized_labels
from kdbench.distill.captures import (
    FAMILIES,
    Assignment,
    Captures,
    Hidden,
    Logits,
    Predictions,
    Shape,
    Shapes,
    Targets,
    rows_of,
)
from kdbench.distill.losses import (
    at_least_float32,
    mean_or_zero,
    mean_square,
    student_and_teacher,
    unit_vectors,
)
from kdbench.distill.method import Method, Step
from kdbench.distill.regions import (
    as_rois,
    assign_levels,
    coverage,
    largest_overlap,
    pooled_regions,
    region_means,
    stride_of,
)

__all__ = [
    "FAMILIES",
    "Adapter",
    "Assignment",
    "Captures",
    "Hidden",
    "Logits",
    "Method",
    "Predictions",
    "Shape",
    "Shapes",
    "Step",
    "Targets",
    "adapter",
    "as_rois",
    "assign_levels",
    "at_least_float32",
    "coverage",
    "largest_overlap",
    "mean_or_zero",
    "mean_square",
    "pooled_regions",
    "region_means",
    "resized",
    "resized_labels",
    "rows_of",
    "stride_of",
    "student_and_teacher",
    "unit_vectors",
]
