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
    Spread,
    Targets,
    rows_of,
)
from kdbench.distill.compression import Batch, Compression
from kdbench.distill.features import FeatureNetwork
from kdbench.distill.levels import assign_levels, level_overlaps
from kdbench.distill.losses import (
    at_least_float32,
    mean_or_zero,
    mean_square,
    student_and_teacher,
    unit_vectors,
)
from kdbench.distill.method import Method, Step
from kdbench.distill.padding import masked, valid_cells
from kdbench.distill.processes import gathered, reduced
from kdbench.distill.regions import (
    as_rois,
    coverage,
    largest_overlap,
    overlaps,
    pooled_regions,
    region_means,
    stride_of,
)

__all__ = [
    "FAMILIES",
    "Adapter",
    "Assignment",
    "Batch",
    "Captures",
    "Compression",
    "FeatureNetwork",
    "Hidden",
    "Logits",
    "Method",
    "Predictions",
    "Shape",
    "Shapes",
    "Spread",
    "Step",
    "Targets",
    "adapter",
    "as_rois",
    "assign_levels",
    "at_least_float32",
    "coverage",
    "gathered",
    "largest_overlap",
    "level_overlaps",
    "masked",
    "mean_or_zero",
    "mean_square",
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
