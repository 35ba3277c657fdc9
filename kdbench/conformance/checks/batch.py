"""Checks on one batch: parameters, random numbers, and the same batch in another form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, variance
from typing import Any

from kdbench.conformance.broken import require
from kdbench.conformance.case import MIRRORED, MOMENTS, SWAPPED, Case, Form, cases
from kdbench.conformance.exam import Exam
from kdbench.conformance.generators import states, watched
from kdbench.conformance.registering import learning_leaves, registered
from kdbench.distill import Method, Step
from kdbench.distill.randomness import seeded

DRAWS = 8
"""Number of evaluations of a method that draws random numbers."""
ROUNDING = 1e-4, 1e-7
"""Relative and absolute tolerance for rounding differences of a term."""
ERRORS = 6.0
"""Tolerance for the mean of a random term, in standard errors."""


def parameters(exam: Exam) -> None:
    """Check that all parameters are made in build() and registered, and that terms learn through no others."""
    for case in cases(exam):
        early = ", ".join(name for name, _ in case.made().named_parameters())
        require(not early, f"{case.where}: its constructor makes {early}: make parameters in build()")
        method = case.built()
        own = {*case.exam.bench.recorded(case.family).student, *method.parameters()}
        for iteration in MOMENTS:
            _step_makes_none(case, method, own, iteration)


def _step_makes_none(case: Case, method: Method[Any], own: set[Any], iteration: int) -> None:
    for part, step_of in _parts(method):
        with registered(case.package) as made:
            terms = step_of(case.step(iteration))
        require(not made, f"{case.where}: {part}() makes {''.join(made[:1])}: make it in build()")
        for name, term in terms.items() if part == "losses" else ():
            shapes = ", ".join(str(tuple(leaf.shape)) for leaf in learning_leaves(term) if leaf not in own)
            require(
                not shapes,
                f"{case.where}: the term '{name}' gives a gradient to tensors {shapes} that are neither the "
                "student's nor the method's parameters: make parameters in build() and keep them in the "
                "method's attributes (several in an nn.ModuleList or nn.ParameterList)",
            )


def _parts(method: Method[Any]) -> list[tuple[str, Callable[[Step], Mapping[str, Any]]]]:
    """Return the functions that a method computes in each iteration, with their names."""
    parts: list[tuple[str, Callable[[Step], Mapping[str, Any]]]] = [("losses", method.losses)]
    if method.adversary() is not None:
        parts.append(("adversary_losses", lambda step: method.adversary_losses(step.detached())))
    return parts


def generators(exam: Exam) -> None:
    """Check that random numbers come from the step's generator; build() may use global ones, but not seed them."""
    for case in cases(exam):
        with watched(case.package) as used:
            method = case.made()
            method.needs()
        require(not used, f"{case.where}: its constructor or needs() uses {_told(used)}")
        _seeds_none(case)
        method = case.built()
        for iteration in MOMENTS:
            for part, step_of in _parts(method):
                with watched(case.package) as used:
                    step_of(case.step(iteration))
                require(
                    not used,
                    f"{case.where}: {part}() uses {_told(used)}: draw from step.generator",
                )


def _told(used: list[str]) -> str:
    return " and ".join(used)


def _seeds_none(case: Case) -> None:
    """Check that build() seeds no global generator: after two seeds the generators' states must differ."""
    ends = []
    for seed in range(2):
        with seeded(seed, "method"):
            case.made().build(case.exam.bench.recorded(case.family).shapes)
            ends.append(states())
    same = [name for name, state in ends[0].items() if state == ends[1][name]]
    require(not same, f"{case.where}: build() seeds {' and '.join(same)}'s global generator")


def order(exam: Exam) -> None:
    """Check that the terms do not change if two images, with everything that belongs to them, are swapped."""
    for case in cases(exam):
        found = difference(case, SWAPPED)
        require(not found, f"{case.where}, {found}: it takes something of one image for another's")


def mirror(exam: Exam) -> None:
    """Check that the terms do not change if images, maps, boxes, masks and the method's kernels are mirrored."""
    found = [f"{case.where}, {what}" for case in cases(exam) if (what := difference(case, MIRRORED))]
    if exam.card.directional:
        require(bool(found), "the card says why it tells left from right or top from bottom, but it does not")
    else:
        advice = "look at how it turns boxes into cells, or say why it is right in the card's `directional`"
        require(not found, f"{(found or [''])[0]}: {advice}")


def difference(case: Case, forms: Sequence[Form]) -> str:
    """Return which term differs in which form of the batch; empty if none does."""
    for iteration in MOMENTS:
        first, second = (case.terms(iteration, draw) for draw in range(2))
        draws = 1 if first == second else DRAWS
        usual = [first, *(case.terms(iteration, draw) for draw in range(1, draws))]
        for form in forms:
            other = [case.terms(iteration, draw, form) for draw in range(draws)]
            for name in first:
                one, two = [terms[name] for terms in usual], [terms[name] for terms in other]
                if not alike(one, two):
                    now, before = f"{fmean(two):.6g}", f"{fmean(one):.6g}"
                    return f"the term '{name}' is {now} and not {before} when {form.name}"
    return ""


def alike(one: list[float], two: list[float]) -> bool:
    """Whether two samples of a term have the same mean, up to rounding and, for several draws, chance."""
    relative, absolute = ROUNDING
    allowed = absolute + relative * max(abs(fmean(one)), abs(fmean(two)))
    if len(one) > 1:
        allowed += ERRORS * ((variance(one) + variance(two)) / len(one)) ** 0.5
    return abs(fmean(one) - fmean(two)) <= allowed
