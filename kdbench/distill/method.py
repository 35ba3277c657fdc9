"""The contract of a method: what it captures, what it builds, what it adds to the student's loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, TypeVar

from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from kdbench.cards import Options
from kdbench.distill.captures import Captures, Predictions, Shapes, Targets, detached
from kdbench.specs import Family

OptionsT = TypeVar("OptionsT", bound=Options)


def no_head(*_given: Any, **_named: Any) -> Any:
    """Raise, as the method did not ask for the inside of a head."""
    raise RuntimeError("teacher_tail and teacher_boxes are for methods that capture head_hidden")


@dataclass(frozen=True)
class Step:
    """What a method sees of one training iteration.

    Attributes:
        student: The student's captures, with gradients.
        teacher: The teacher's captures of the same images, without.
        targets: Ground truth.
        images: (B, 3, H, W) as the student sees them: normalised, padded.
        iteration: Iterations done before this one.
        iterations: Iterations of the whole training.
        others: The captures of an ensemble's further teachers.
        generator: Where a method's random numbers come from, on the images' device, seeded for this iteration:
            ``torch.rand(..., generator=step.generator)``. The global generators are the models'.
        teacher_tail: ``teacher_tail(hidden, after=k)`` runs the teacher's dense head from behind its k-th
            convolution on a pair of maps for each level, as in ``head_hidden[k - 1]``, and returns its
            ``Predictions``. The teacher is frozen; gradients reach the maps.
        teacher_boxes: ``teacher_boxes(predictions)`` decodes such predictions, as in ``head_boxes``.
        family: The student's, None if unknown.
    """

    student: Captures
    teacher: Captures
    targets: Targets
    images: Tensor
    iteration: int
    iterations: int
    others: tuple[Captures, ...] = ()
    generator: Generator = field(default_factory=Generator, repr=False)
    teacher_tail: Callable[..., Predictions] = no_head
    teacher_boxes: Callable[[Predictions], list[Tensor]] = no_head
    family: Family | None = None

    @property
    def progress(self) -> float:
        """Part of the training that is done, in [0, 1)."""
        return self.iteration / self.iterations

    def detached(self) -> Step:
        """Return the same step with the student's captures detached."""
        return replace(self, student={name: detached(value) for name, value in self.student.items()})


class Method(nn.Module, Generic[OptionsT]):
    """A distillation method. Its parameters (adapters) train with the student and are never exported.

    A subclass, ``class Mimic(Method[MimicOptions])``, sets ``captures``, makes its adapters in ``build`` and
    returns its terms from ``losses``. It holds no reference to student or teacher.

    Args:
        options: The card's options, validated.
    """

    captures: ClassVar[tuple[str, ...]] = ()
    """Names from ``kdbench.distill.captures`` that it needs from both models, whatever its options."""

    def __init__(self, options: OptionsT) -> None:
        super().__init__()
        self.options = options

    def needs(self) -> tuple[str, ...]:
        """Return the captures that it needs with its options, before ``build``.

        Override it where a variant asks for others than ``captures``.
        """
        return self.captures

    def wants(self) -> tuple[str, ...]:
        """Return the captures that it takes in families that have them and does without in the others."""
        return ()

    def build(self, shapes: Shapes) -> None:
        """Make the adapters. Called once, before training, under the method's own random state."""

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Weighted scalar terms that are added to the student's loss, by name (may be empty)."""
        raise NotImplementedError(f"{type(self).__name__} does not define losses()")

    def task_weight(self, step: Step) -> float:
        """Factor on the student's own loss in this iteration (a stage of hints alone has 0)."""
        return 1.0

    def classification_weight(self, step: Step) -> float:
        """Further factor on the classification terms of a detector's own loss in this iteration."""
        return 1.0

    def head_weight(self, step: Step) -> float:
        """Further factor on the terms of a two-stage detector's RoI head in this iteration (0: its RPN alone)."""
        return 1.0

    def adversary(self) -> nn.Module | None:
        """Return a part, made in ``build``, that is trained against the student.

        It is in no optimizer but its own and gets no gradient of ``losses``, which may run through it.
        """
        return None

    def adversary_losses(self, step: Step) -> dict[str, Tensor]:
        """Weighted scalar terms of the adversary, by name; the student's captures come detached.

        Called after the student's step of the same iteration, on what that step saw, outside of mixed
        precision, with a generator of its own. Distributed, gradients are averaged over the processes.
        """
        raise NotImplementedError(f"{type(self).__name__} has an adversary but does not define its losses()")

    def adversary_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        """Return the adversary's own optimizer; its state is saved and resumed with the run.

        Its learning rates follow the run's schedule: multiplied, each iteration, by what the student's has
        become of its peak.
        """
        raise NotImplementedError(f"{type(self).__name__} has an adversary but does not give its optimizer")

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return where the method attends, for ``kdbench show-mask``: name -> (B, h, w) weights in [0, 1].

        Each map is drawn over the whole padded image, whatever its size. Empty: it has nothing to show.
        It is asked without ``build``, as adapters are not kept with a run.
        """
        return {}

    def notes(self) -> list[str]:
        """Return what was chosen while building, a line each: printed and recorded."""
        return [f"{name}: {brief(part)}" for name, part in self.named_children()]


def check_terms(terms: Any) -> None:
    """Refuse what is no dict of scalar terms.

    Args:
        terms: What a method returned.

    Raises:
        TypeError: If it returned anything else.
    """
    if not isinstance(terms, Mapping) or not all(isinstance(name, str) for name in terms):
        wrong = f"a {type(terms).__name__}"
    elif hidden := [name for name in terms if not name.isprintable()]:
        wrong = f"the name {hidden[0]!a}"
    else:
        wrong = next((f"'{name}': {_kind(term)}" for name, term in terms.items() if not _is_term(term)), "")
    if wrong:
        raise TypeError(f"it returned {wrong}, not a dict of scalar tensors by name")


def _is_term(term: Any) -> bool:
    return isinstance(term, Tensor) and term.dim() == 0 and term.is_floating_point()


def _kind(term: Any) -> str:
    if isinstance(term, Tensor):
        return f"a {term.dtype} tensor of shape {tuple(term.shape)}"
    return f"a {type(term).__name__}"


def brief(module: nn.Module) -> str:
    """Describe a module in one line: its parts, equal ones counted, with their settings."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return _convolution(module)
    parts = [brief(part) for part in module.children()]
    if not parts:
        return " ".join(str(module).split())
    counted = [f"{text} ({count} times)" if count > 1 else text for text, count in Counter(parts).items()]
    return ", ".join([*counted, *filter(None, [module.extra_repr()])])


def _convolution(module: nn.Conv2d | nn.ConvTranspose2d) -> str:
    height, width = module.kernel_size
    kind = "transposed convolution" if isinstance(module, nn.ConvTranspose2d) else "convolution"
    return f"{height}x{width} {kind} {module.in_channels} -> {module.out_channels}"
