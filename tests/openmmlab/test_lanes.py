"""A lane of a pack is the run alone, bit for bit, for every method; and what the lanes share is made once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass

import pytest
import torch
from small_bench import Silent
from test_every_method import ITERATIONS, TRAININGS

from kdbench.errors import PluginError

RUN = {"iterations": 4, "validations": 2}


@dataclass
class Result:
    student: str
    method: str
    curve: list
    losses: list


class Telling(Silent):
    def __init__(self, interrupt_at=None):
        self.losses, self.interrupt_at = [], interrupt_at

    def advance(self, iteration, losses):
        self.losses.append((iteration, losses))
        if iteration == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)


def distiller(bench, kind, selector, shared=None):
    model = bench.distiller(kind, selector, **RUN)
    if shared is not None and model.teacher is not None:
        model.teacher = shared(model.teacher)
        model.teacher.asked |= model.names
    return model


def train(bench, kind, selector, folder, pack=None, interrupt_at=None):
    from kdbench.openmmlab.training.runner import train
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    subject, progress = bench.subject(kind, **RUN), Telling(interrupt_at)
    place = bench.place(folder, pack=pack)
    model = distiller(bench, kind, selector, pack and pack.shared)
    done = train(
        model,
        subject.dataset,
        subject.schedule,
        place,
        progress,
        seed=0,
        name=f"{folder.parent.name}-{folder.name}",
    )
    return Result(weights_hash(model.student), weights_hash(model.method), done.curve, progress.losses)


def in_a_pack(bench, kind, selectors, folder, interrupt_at=None, room=None):
    """The results of the lanes by selector, and the pack."""
    from kdbench.openmmlab.training.sharing import make_pack

    pack = make_pack()

    def body(number, selector):
        return lambda: train(bench, kind, selector, folder / str(number), pack, interrupt_at)

    bodies = {selector: body(number, selector) for number, selector in enumerate(selectors)}
    return pack.turns.run(bodies, room=room), pack


KINDS = ("faster", "gfl", "pspnet")


def lanes_of(kind):
    """The plain student, every method of a kind in its default variant, and hints that are a stage of their own."""
    methods = [p.values[0] for p in TRAININGS if p.values[1] == kind and p.values[2] == ITERATIONS[True]]
    return ["none", *methods, "fitnets[variant=two-stage,stage=0.5]"]


@pytest.fixture(scope="module", params=KINDS)
def uninterrupted(bench, request, tmp_path_factory):
    """A kind, its lanes' results and their pack."""
    together, pack = in_a_pack(bench, request.param, lanes_of(request.param), tmp_path_factory.mktemp("pack"))
    return request.param, together, pack


@pytest.mark.slow
def test_every_lane_is_the_run_alone(bench, uninterrupted, tmp_path):
    kind, together, pack = uninterrupted
    for number, (selector, result) in enumerate(together.items()):
        assert result == train(bench, kind, selector, tmp_path / str(number)), selector
    assert {teacher.runs for teacher in pack.teachers.values()} == {RUN["iterations"]}
    assert pack.training.loads == RUN["iterations"]
    assert pack.evaluation.loads == 1  # three images are one batch, which stays on the shelf


@pytest.mark.slow
def test_every_lane_of_a_resumed_pack_is_that_of_an_uninterrupted_one(bench, uninterrupted, tmp_path):
    kind, together, _ = uninterrupted
    stopped, _ = in_a_pack(bench, kind, list(together), tmp_path, interrupt_at=2)
    assert all(isinstance(result, KeyboardInterrupt) for result in stopped.values())
    resumed, pack = in_a_pack(bench, kind, list(together), tmp_path)
    for selector, whole in together.items():
        now = resumed[selector]
        assert (now.student, now.method, now.curve) == (whole.student, whole.method, whole.curve), selector
    first = min(result.losses[0][0] for result in resumed.values())
    assert pack.training.loads == RUN["iterations"] - first + 1 < RUN["iterations"]


@pytest.mark.slow
def test_a_lane_that_fails_hurts_no_other(bench, tmp_path, monkeypatch):
    from kdbench_papers.fitnets.method import Fitnets

    alone = train(bench, "gfl", "none", tmp_path / "alone" / "0")
    losses, calls = Fitnets.losses, []

    def broken(self, step):
        calls.append(step.iteration)
        return {
            name: loss * (float("nan") if step.iteration == 2 else 1)
            for name, loss in losses(self, step).items()
        }

    monkeypatch.setattr(Fitnets, "losses", broken)
    together, _ = in_a_pack(bench, "gfl", ["none", "fitnets"], tmp_path / "pack")
    assert together["none"] == alone
    assert "became nan at iteration 2" in str(together["fitnets"])
    assert max(calls) == 2


@pytest.mark.slow
def test_a_method_that_changes_the_teacher_s_maps_is_blamed(bench, tmp_path, monkeypatch):
    from kdbench_papers.fitnets.method import Fitnets

    alone = train(bench, "gfl", "hinton", tmp_path / "alone" / "0")
    losses = Fitnets.losses

    def vandal(self, step):
        for maps in step.teacher.values():
            maps[0].zero_()
        return losses(self, step)

    monkeypatch.setattr(Fitnets, "losses", vandal)
    together, _ = in_a_pack(bench, "gfl", ["fitnets", "hinton"], tmp_path / "pack")
    assert together["hinton"] == alone
    assert isinstance(together["fitnets"], PluginError)
    assert "changed the teacher's captures in place" in str(together["fitnets"])


@pytest.mark.slow
def test_lanes_that_begin_when_there_is_room_are_the_same(bench, tmp_path):
    """The first lane is a step ahead then, and asked less of the teacher than those after it."""
    selectors = ["fitnets[hint=backbone]", "hinton"]
    together, pack = in_a_pack(bench, "gfl", selectors, tmp_path / "pack", room=lambda: 1)
    for number, selector in enumerate(selectors):
        assert together[selector] == train(bench, "gfl", selector, tmp_path / "alone" / str(number)), selector
    (teacher,) = pack.teachers.values()
    assert teacher.runs == RUN["iterations"] + 1
    assert pack.training.loads == RUN["iterations"]


def test_a_shelf_gives_each_lane_its_own_copy(bench):
    from kdbench.openmmlab.data.loaders import evaluation_loader
    from kdbench.openmmlab.training.sharing import Shelf

    subject = bench.subject("gfl")
    loader = evaluation_loader(subject.dataset, bench.folder, subject.schedule, "test", 0)
    shelf, expected = Shelf(loader, endless=False), next(iter(loader))
    first, second = shelf.take([0, 1, 2]), shelf.take([0, 1, 2])
    assert shelf.loads == 1
    first["inputs"][0].zero_()
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(second["inputs"], expected["inputs"], strict=True)
    )


def test_a_shelf_keeps_the_processes_that_load_from_one_evaluation_to_the_next(bench):
    from kdbench.openmmlab.data.loaders import evaluation_loader
    from kdbench.openmmlab.training.sharing import Shelf

    subject = bench.subject("gfl")
    shelf = Shelf(
        evaluation_loader(subject.dataset, bench.folder, subject.schedule, "test", 1), endless=False
    )
    seen = []
    for _ in range(2):
        batch, shelf.indices, shelf._next = shelf.take([0, 1, 2]), None, -1
        seen.append(
            (batch["inputs"][0].sum().item(), {child.pid for child in multiprocessing.active_children()})
        )
    assert seen[0] == seen[1]
    assert seen[0][1]
