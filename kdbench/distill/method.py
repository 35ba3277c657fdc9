"""The contract of a method: its captures, its adapters, and the terms it adds to the student's loss."""

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
    """Raise RuntimeError, since the method does not capture ``head_hidden``."""
    raise RuntimeError("teacher_tail and teacher_boxes are for methods that capture head_hidden")


@dataclass(frozen=True)
class Step:
    """The input of a method in one training iteration.

    Attributes:
        student: The student's captures, with gradients.
        teacher: The teacher's captures of the same images, without gradients.
        targets: Ground truth.
        images: (B, 3, H, W) images as the student sees them: normalised and padded.
        iteration: Number of iterations before this one.
        iterations: Number of iterations of the whole training.
        others: Captures of an ensemble's other teachers.
        generator: Generator for the method's random numbers, on the images' device and seeded for this iteration:
            ``torch.rand(..., generator=step.generator)``. The global generators belong to the models.
        teacher_tail: ``teacher_tail(hidden, after=k)`` runs the teacher's dense head from after its k-th
            convolution on a pair of maps per level, as in ``head_hidden[k - 1]``, and returns its
            ``Predictions``. The teacher is frozen; gradients reach the maps.
        teacher_boxes: ``teacher_boxes(predictions)`` decodes such predictions, as in ``head_boxes``.
        family: Family of the student; None if unknown.
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
        """Fraction of the training that is done, in [0, 1)."""
        return self.iteration / self.iterations

    def detached(self) -> Step:
        """Return the same step with the student's captures detached."""
        return replace(self, student={name: detached(value) for name, value in self.student.items()})


class Method(nn.Module, Generic[OptionsT]):
    """A distillation method. Its parameters (adapters) train with the student and are never exported.

    A subclass, ``class Mimic(Method[MimicOptions])``, sets ``captures``, creates its adapters in ``build`` and
    returns its terms from ``losses``. It holds no reference to student or teacher.

    Args:
        options: The card's options, validated.
    """

    captures: ClassVar[tuple[str, ...]] = ()
    """Names from ``kdbench.distill.captures`` that the method needs from both models, whatever its options."""

    def __init__(self, options: OptionsT) -> None:
        super().__init__()
        self.options = options

    def needs(self) -> tuple[str, ...]:
        """Return the captures that the method needs with its options; called before ``build``.

        Override this if a variant needs other captures than ``captures``.
        """
        return self.captures

    def wants(self) -> tuple[str, ...]:
        """Return optional captures, which the method uses in families that have them."""
        return ()

    def build(self, shapes: Shapes) -> None:
        """Create the adapters. Called once, before training, with a random state of the method's own."""

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the weighted scalar terms to add to the student's loss, by name (may be empty)."""
        raise NotImplementedError(f"{type(self).__name__} does not define losses()")

    def task_weight(self, step: Step) -> float:
        """Return the factor on the student's own loss in this iteration (0 in a stage with hints only)."""
        return 1.0

    def classification_weight(self, step: Step) -> float:
        """Return an additional factor on the classification terms of a detector's own loss in this iteration."""
        return 1.0

    def head_weight(self, step: Step) -> float:
        """Return an additional factor on the terms of a two-stage detector's RoI head (0: only the RPN trains)."""
        return 1.0

    def adversary(self) -> nn.Module | None:
        """Return the module, created in ``build``, that is trained against the student, or None.

        Only its own optimizer updates it; ``losses`` may run through it but gives it no gradients.
        """
        return None

    def adversary_losses(self, step: Step) -> dict[str, Tensor]:
        """Return the weighted scalar terms of the adversary, by name; the student's captures are detached.

        Called after the student's step of the same iteration, with the same captures, outside of mixed
        precision and with a separate generator. In distributed training, gradients are averaged over the processes.
        """
        raise NotImplementedError(f"{type(self).__name__} has an adversary but does not define its losses()")

    def adversary_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        """Return the adversary's optimizer; its state is saved and resumed with the run.

        Its learning rates follow the run's schedule: in each iteration they are multiplied by the ratio of the
        student's learning rate to its peak.
        """
        raise NotImplementedError(f"{type(self).__name__} has an adversary but does not give its optimizer")

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return where the method attends, for ``kdbench show-mask``: name -> (B, h, w) weights in [0, 1].

        Each map is drawn over the whole padded image, whatever its size. An empty dict shows nothing.
        It is called without ``build``, since adapters are not stored with a run.
        """
        return {}

    def notes(self) -> list[str]:
        """Return one line per choice made in ``build``; the lines are printed and recorded."""
        return [f"{name}: {brief(part)}" for name, part in self.named_children()]


def check_terms(terms: Any) -> None:
    """Check that a method returned a dict of scalar terms.

    Args:
        terms: Return value of the method.

    Raises:
        TypeError: If it is anything else.
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
    """Describe a module in one line: its parts with their settings, and equal parts counted."""
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
