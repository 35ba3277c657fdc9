"""Forward and backward passes of a method on a given batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kdbench.cards import Options
from kdbench.conformance.broken import require
from kdbench.conformance.exam import Exam
from kdbench.distill.method import check_terms
from kdbench.errors import running

if TYPE_CHECKING:
    from kdbench.openmmlab.training.distiller import Distiller

Raw = dict[str, Any]
"""A batch of a data loader: ``inputs``, a list of (3, H, W) images, and ``data_samples``."""


def stepped(
    exam: Exam,
    family: str,
    edit: Callable[[Raw], Raw] = lambda raw: raw,
    *,
    options: Options | None = None,
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
    **changes: Any,
) -> list[dict[str, Tensor]]:
    """Compute the terms on a batch at the start and half-way, with backward passes and the adversary's steps.

    Args:
        exam: Exam of the method.
        family: Family of student and teacher.
        edit: Function that changes a batch of two generated scenes.
        options: Options of the method; default: the exam's.
        precision: Function that returns a context manager for the forward pass, such as autocast.
        changes: Changes to the schedule.

    Raises:
        PromiseBroken: If a term or a gradient is not finite.
    """
    model = exam.distiller(family, options, **changes).train()
    found = []
    for iteration in (0, model.iterations // 2):
        model.iteration = iteration
        data = model.student.data_preprocessor(edit(copy.deepcopy(exam.bench.probe(family).raw)), True)
        with precision():
            _, terms, _ = model.compute(data["inputs"], data["data_samples"])
        _check(terms, f"in {family} models the term")
        _backward(model, terms, family)
        if model.method.adversary() is not None:
            with running(model.title, "adversary_losses()"):
                rival = model.method.adversary_losses(model.seen)
                check_terms(rival)
            _check(rival, f"in {family} models the adversary's term")
        found.append(terms)
    return found


def _check(terms: Mapping[str, Tensor], what: str) -> None:
    for name, term in terms.items():
        require(bool(torch.isfinite(term)), f"{what} '{name}' is {float(term.detach())}")


def _backward(model: Distiller, terms: Mapping[str, Tensor], family: str) -> None:
    learning = [term.float() for term in terms.values() if term.requires_grad]
    if learning:
        torch.stack(learning).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        finite = parameter.grad is None or bool(torch.isfinite(parameter.grad).all())
        require(finite, f"in {family} models the gradient of {name} is not finite")
