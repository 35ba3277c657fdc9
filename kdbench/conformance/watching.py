"""Observation of a method in a training: which gradients its terms give, and what it changes in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kdbench.distill import Step
from kdbench.distill.captures import tensors_of
from kdbench.distill.method import check_terms

if TYPE_CHECKING:
    from kdbench.openmmlab.training.distiller import Distiller


@dataclass
class Watched:
    """Observations of a training.

    Attributes:
        reached: Term -> whether it gave the student a gradient by itself in some iteration.
        taught: Name of a parameter of the method -> whether it received a non-zero gradient.
        written: Parts of a step that the method changed in place, such as ``the teacher's neck``.
    """

    reached: dict[str, bool] = field(default_factory=dict)
    taught: dict[str, bool] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    @property
    def idle_parts(self) -> set[str]:
        """Names of the method's attributes none of whose parameters received a gradient."""
        parts = {name.partition(".")[0] for name in self.taught}
        return parts - {name.partition(".")[0] for name, taught in self.taught.items() if taught}


def watch(model: Distiller) -> Watched:
    """Watch a distiller from now on; its numbers do not change."""
    method: Any = model.method
    seen = Watched()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:  # parameters of an adversary do not
            seen.taught[name] = False
            parameter.register_post_accumulate_grad_hook(partial(_note, seen, name))
    student = [p for p in model.student.parameters() if p.requires_grad]
    losses = method.losses

    def watched(step: Step) -> dict[str, Tensor]:
        before = _versions(step)
        terms: dict[str, Tensor] = losses(step)
        seen.written |= {name for name, found in _versions(step).items() if found != before.get(name)}
        check_terms(terms)
        for name, term in terms.items():
            seen.reached[name] = seen.reached.get(name, False) or reaches(term, student)
        return terms

    method.losses = watched
    shared: Any = model
    shared.check_untouched = lambda *_: None  # changes in place are recorded here, and checked with the rest
    return seen


def _note(seen: Watched, name: str, parameter: Tensor) -> None:
    seen.taught[name] |= parameter.grad is not None and bool(parameter.grad.any())


def reaches(term: Tensor, parameters: list[nn.Parameter]) -> bool:
    """Whether a term gives any of the parameters a non-zero gradient."""
    if not term.requires_grad:
        return False
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def _versions(step: Step) -> dict[str, list[tuple[int, int, bool]]]:
    """Map each part of a step to its tensors' identities, numbers of changes in place, and ``requires_grad``."""
    parts = {
        **{f"the teacher's {name}": value for name, value in step.teacher.items()},
        **{f"the student's {name}": value for name, value in step.student.items()},
        "the targets' boxes": step.targets.boxes,
        "the targets' labels": step.targets.labels,
        "the targets' masks": () if step.targets.masks is None else step.targets.masks,
        "the images": step.images,
    }
    return {
        part: [(id(each), each._version, each.requires_grad) for each in tensors_of(value)]
        for part, value in parts.items()
    }
