"""What every method must do in every family; made from the cards, so that a new one is held to it as well."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from lightly import LIGHTLY
from small_bench import Silent, family_of, stage_of

import kdbench_papers
from kdbench.cards import MethodCard, Options
from kdbench.distill import FAMILIES as CAPTURES
from kdbench.errors import UserError
from kdbench.plugins import make_method, registry
from kdbench.specs import task_of

EXAMPLES = [
    offer.value
    for offer in registry().methods.values()
    if offer.plugin.distribution in ("kdbench-cwd", "kdbench-pkd")
]
"""The methods of the packages in plugins/, where they are installed."""
OURS = [
    card for card in kdbench_papers.kdbench_methods() if card.kind == "distillation" and card.name != "none"
]
CARDS = [*OURS, *EXAMPLES]
DATASETS = {"detection": "digits", "segmentation": "digits-seg"}
KINDS = {
    "two-stage": ["faster"],
    "dense": ["gfl", "retinanet", "fcos"],
    "query": ["dino"],
    "segmentation": ["pspnet"],
}
"""Family -> its models: all for a method's default variant, the first for the others and the example packages."""
ITERATIONS = {True: 20, False: 6}
"""Of a default variant, and of the others."""


def variants(card: MethodCard) -> Iterator[tuple[str, Options, bool]]:
    """Selector, options, and whether these are the method's own."""
    own = card.options()
    if not card.variants:
        yield card.name, own, True
    for variant in card.variants:
        options = card.options.model_validate({"variant": variant})
        yield f"{card.name}[variant={variant}]", options, options == own


def having(card: MethodCard, options: Options) -> list[str]:
    """The families that have what a method needs."""
    needed = set(make_method(card, options).needs())
    return [family for family, captures in CAPTURES.items() if needed <= captures]


def first_kind(families: list[str], family: str) -> str:
    """The model that a method's default variant is always tried on in a task; the rest is for releases."""
    return KINDS[next(other for other in families if task_of(other) == task_of(family))][0]


EVERY = [
    (card, *variant) for card in CARDS for variant in variants(card) if variant[2] or card.name not in LIGHTLY
]
TRAININGS = [
    pytest.param(
        selector,
        kind,
        2 if card.name in LIGHTLY else ITERATIONS[own],
        id=f"{selector}-{kind}",
        marks=() if own and kind == first_kind(having(card, options), family) else pytest.mark.release,
    )
    for card, selector, options, own in EVERY
    for family in having(card, options)[: 1 if card.name in LIGHTLY else None]
    if task_of(family) in card.tasks
    for kind in KINDS[family][: None if own and card not in EXAMPLES and card.name not in LIGHTLY else 1]
]
TRAININGS += [
    pytest.param(selector, kind, 2, id=f"{selector}-{kind}", marks=pytest.mark.release)
    for selector, kind in (("crosskd", "retinanet"), ("crosskd", "fcos"), ("bckd", "retinanet"))
]
WITHOUT = [
    pytest.param(selector, KINDS[family][0], having(card, options), id=f"{selector}-{family}")
    for card, selector, options, _ in EVERY
    for family in CAPTURES
    if family not in having(card, options)
]
OTHER_TASKS = [
    pytest.param(card, task, id=f"{card.name}-{task}")
    for card in CARDS
    for task in DATASETS
    if task not in card.tasks
]


class Telling(Silent):
    """Keeps the losses of every iteration."""

    def __init__(self):
        self.losses = []

    def advance(self, iteration, losses):
        self.losses.append(losses)


@dataclass
class Watched:
    """What a training does to a method's parameters, and what its terms do to the student.

    Attributes:
        model: The distiller.
        before: The method's parameters before the training.
        taught: Names of those that the backward pass gave a gradient that is not zero.
        reached: Term -> whether it gave the student a gradient by itself in some iteration.
    """

    model: object
    before: dict[str, torch.Tensor]
    taught: set[str] = field(default_factory=set)
    reached: dict[str, bool] = field(default_factory=dict)

    @property
    def moved(self):
        after = self.model.method.named_parameters()
        return {name for name, value in after if not torch.equal(value, self.before[name])}

    @property
    def rival(self):
        """Names of the adversary's parameters."""
        adversary = self.model.method.adversary()
        own = set() if adversary is None else {id(p) for p in adversary.parameters()}
        return {name for name, p in self.model.method.named_parameters() if id(p) in own}


def watch(model):
    method = model.method
    seen = Watched(model, {name: p.detach().clone() for name, p in method.named_parameters()})
    student = [p for p in model.student.parameters() if p.requires_grad]
    losses = method.losses

    def watched(step):
        terms = losses(step)
        for name, term in terms.items():
            seen.reached[name] = seen.reached.get(name) or reaches(term, student)
        return terms

    method.losses = watched
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:  # not the adversary's
            parameter.register_post_accumulate_grad_hook(
                lambda p, name=name: seen.taught.add(name) if p.grad.any() else None
            )
    return seen


def reaches(term, parameters):
    if not term.requires_grad:
        return False
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)


@pytest.mark.parametrize(("card", "options"), [pytest.param(c, o, id=s) for c, s, o, _ in EVERY])
def test_it_works_in_some_family_of_its_tasks(card, options):
    assert {task_of(family) for family in having(card, options)} & set(card.tasks)


@pytest.mark.slow
@pytest.mark.parametrize(("selector", "kind", "iterations"), TRAININGS)
def test_a_training(bench, tmp_path, monkeypatch, selector, kind, iterations):
    """As a run does it, from the gates to the exported student; without weight decay, which moves everything."""
    from kdbench.openmmlab import students
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    seen, finish = [], students._finish
    monkeypatch.setattr(
        students,
        "_finish",
        lambda subject, model, *rest: (seen.append(watch(model)), finish(subject, model, *rest))[1],
    )
    card, options = bench.card(selector)
    subject = bench.subject(kind, iterations=iterations, weight_decay=0.0)
    teacher, progress = bench.teacher(kind, stage_of(card, options)), Telling()
    before = weights_hash(teacher.model)
    place = bench.place(tmp_path)
    # Forced: a teacher that is not trained says little of whether a loss is too large.
    students.train_with(subject, [teacher], card, options, place, progress, force=True)
    (found,) = seen

    assert len(progress.losses) == iterations
    assert all(math.isfinite(value) for losses in progress.losses for value in losses.values())
    assert {f"loss_distill_{name}" for name in found.reached} <= set(progress.losses[0])
    assert found.reached
    assert all(found.reached.values()), found.reached
    moved = found.moved - found.rival  # two iterations of a small loss may leave a float32 weight as it was
    assert moved <= found.taught if iterations == 2 else moved == found.taught
    assert bool(moved) == bool(found.taught)
    assert bool(found.taught) == bool(found.before.keys() - found.rival)
    assert bool(found.moved & found.rival) == bool(found.rival)
    assert weights_hash(teacher.model) == before
    assert all(p.grad is None for p in teacher.model.parameters())


@pytest.mark.parametrize(("selector", "kind", "working"), WITHOUT)
def test_a_family_that_lacks_something_is_refused_with_those_that_work(
    bench, tmp_path, selector, kind, working
):
    from kdbench.openmmlab.students import train_with

    card, options = bench.card(selector)
    with pytest.raises(UserError) as refused:
        train_with(bench.subject(kind), [], card, options, bench.place(tmp_path), Silent())
    told = str(refused.value)
    assert re.match(rf"method '{card.name}' of kdbench \S+ needs ", told)
    assert f"which {family_of(kind)} models do not have" in told
    assert told.endswith(f"it works in: {', '.join(working)}.")


@pytest.mark.parametrize(("card", "task"), OTHER_TASKS)
def test_another_task_is_refused_with_its_own(card, task):
    from kdbench.runs.plan import plan
    from kdbench.runs.request import Request

    with pytest.raises(UserError) as refused:
        plan(Request(method=card.name, dataset=DATASETS[task]))
    assert f"is for {' and '.join(card.tasks)}; '{DATASETS[task]}' is {task}." in str(refused.value)


TWO = """
# One of two processes; it writes down, after each iteration, the hashes of student and method, and the loss.
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from kdbench.openmmlab.setup import prepare_libraries
prepare_libraries("mmdet")
from kdbench.openmmlab.process import join_processes, use_device
use_device("cpu")
join_processes("cpu")
import torch
torch.set_num_threads(1)
from small_bench import Bench, Silent
from kdbench.openmmlab.weights.checkpoints import weights_hash
bench, out = Bench(Path(sys.argv[2])), Path(sys.argv[3])
for number, selector in enumerate(sys.argv[4:]):
    settings = {"iterations": 6, "weight_decay": 0.0}
    model, progress, seen = bench.distiller("gfl", selector, **settings), Silent(), []
    def advance(iteration, losses):
        seen.append([weights_hash(model.student), weights_hash(model.method), losses["loss"]])
    progress.advance = advance
    bench.train(model, "gfl", out / str(number), progress, **settings)
    (out / f"{number}-rank{os.environ['RANK']}.json").write_text(json.dumps(seen))
"""


@pytest.mark.slow
def test_two_processes_agree_where_an_adapter_is_unused_for_a_while(bench, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    selectors = ["fine-grained[held=3]", "fitnets[variant=two-stage,stage=0.5]"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(script), str(Path(__file__).parent), str(bench.folder), str(tmp_path), *selectors]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    held, staged = (
        [json.loads((tmp_path / f"{number}-rank{rank}.json").read_text()) for rank in (0, 1)]
        for number in range(len(selectors))
    )
    for ranks in (held, staged):
        for ours, theirs in zip(*ranks, strict=True):
            assert ours[:2] == theirs[:2]
            assert ours[2] != theirs[2]  # each process saw its own images
        assert len({student for student, _, _ in ranks[0]}) == 6
    adapters = [method for _, method, _ in held[0]]
    assert len(set(adapters[:3])) == 1
    assert len(set(adapters[2:])) == 4
    assert len({method for _, method, _ in staged[0][:3]}) == 3
