"""What a plugin may import: everything here, and nothing else of kdbench.

A name is imported when it is first asked for, so that a card that imports from here stays light. Names of the
first table need no torch; those of the second import it, and belong into the module of the method.

What a card and a plugin's module need
======================================

=================  ====================================================================================
hookimpl           marks a function of the plugin's module as what a hook of :mod:`kdbench.hookspecs` asks for
MethodCard         a method as the world should know it before it is run
Options            base of a method's options
Task, TASKS        what can be distilled: ``detection`` and ``segmentation``
Family             ``two-stage``, ``dense`` or ``segmentation``: what a model is, seen by a method
TeacherStage       a further fine-tuning of the teacher that a method asks for
Dataset, Split     a dataset: where it is, its parts, classes and metric, how to get it
Pair               a teacher and a student on a dataset, and how both are trained
Model, Schedule    its parts: an OpenMMLab config with edits, and a training recipe
ExecutorCard       a way to run the workers of a sweep
MetricCard         a further column of the leaderboards, computed from a record's metrics
UserError          raise it for a mistake that the user can mend: it is told in one line
link_or_tell       for a dataset's ``prepare``: link the folder that the user names, checked, or say what to get
method_of          for tests: the card and the options of ``my-method[weight=2]``, as a command reads them
=================  ====================================================================================

What a method, an executor and a loss need
==========================================

======================  ===============================================================================
Method                  base of a method: what it captures, what it builds, what it adds to the loss
Shapes, Shape           what :meth:`Method.build` is given: the probed shapes of the captures
Step                    what :meth:`Method.losses` is given: the captures of one iteration
Captures, FAMILIES      capture name -> value, and family -> the captures that it has
Logits                  capture ``logits``: class logits of a head
Predictions             captures ``rpn`` and ``head``: raw outputs of a detection head
Assignment              captures ``*_targets``: what a head is trained on
Targets                 the ground truth of a batch
Adapter, adapter        a convolution and an interpolation to the teacher's channels and size
resized                 a map at the size of another
student_and_teacher     both in at least float32, the teacher's without gradient
at_least_float32        a tensor in float32 or float64
mean_or_zero            a mean that is 0 where there is nothing, with a gradient of 0
stride_of               a map's stride in input pixels
assign_levels           the pyramid level of each box
largest_overlap         largest IoU of each box with any other
pooled_regions          regions of a map, RoI-aligned
region_means            mean of a map over each region
coverage                how many regions touch each cell of a map
as_rois                 boxes of the images of a batch as one tensor
Executor                base of an executor
Resources, Ended        what a worker gets, and how it ended
======================  ===============================================================================

A change of any of these is told in CHANGELOG.md; a test sees to that.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdbench.cards import Dataset, ExecutorCard, MethodCard, MetricCard, Options, Split
    from kdbench.datasets.link import link_or_tell
    from kdbench.distill import (
        FAMILIES,
        Adapter,
        Assignment,
        Captures,
        Logits,
        Method,
        Predictions,
        Shapes,
        Step,
        Targets,
        adapter,
        as_rois,
        assign_levels,
        at_least_float32,
        coverage,
        largest_overlap,
        mean_or_zero,
        pooled_regions,
        region_means,
        resized,
        stride_of,
        student_and_teacher,
    )
    from kdbench.distill.captures import Shape
    from kdbench.errors import UserError
    from kdbench.execution.executors import Ended, Executor, Resources
    from kdbench.hookspecs import hookimpl
    from kdbench.selectors import method_of
    from kdbench.specs import TASKS, Family, Model, Pair, Schedule, Task, TeacherStage

__all__ = [
    "FAMILIES",
    "TASKS",
    "Adapter",
    "Assignment",
    "Captures",
    "Dataset",
    "Ended",
    "Executor",
    "ExecutorCard",
    "Family",
    "Logits",
    "Method",
    "MethodCard",
    "MetricCard",
    "Model",
    "Options",
    "Pair",
    "Predictions",
    "Resources",
    "Schedule",
    "Shape",
    "Shapes",
    "Split",
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
    "hookimpl",
    "largest_overlap",
    "link_or_tell",
    "mean_or_zero",
    "method_of",
    "pooled_regions",
    "region_means",
    "resized",
    "stride_of",
    "student_and_teacher",
]

_LIGHT: Mapping[str, str] = {
    "hookimpl": "kdbench.hookspecs",
    "UserError": "kdbench.errors",
    "link_or_tell": "kdbench.datasets.link",
    "method_of": "kdbench.selectors",
    **dict.fromkeys(
        ("Dataset", "ExecutorCard", "MethodCard", "MetricCard", "Options", "Split"),
        "kdbench.cards",
    ),
    **dict.fromkeys(
        ("Family", "Model", "Pair", "Schedule", "TASKS", "Task", "TeacherStage"), "kdbench.specs"
    ),
    **dict.fromkeys(("Ended", "Executor", "Resources"), "kdbench.execution.executors"),
}
"""Name -> its module, where that needs no torch."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "kdbench.distill.captures" if name == "Shape" else _LIGHT.get(name, "kdbench.distill")
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
