"""An interrupted training that is gone on with gives what an uninterrupted one gives, on CPU bit for bit."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
import torch
from small_bench import Silent

RUN = {"iterations": 6, "validations": 3, "warmup": 2}


class Interrupting(Silent):
    """Sends this process a signal at the end of an iteration, or during an evaluation."""

    def __init__(self, number, *, iteration=None, evaluation=None):
        self.number, self.iteration, self.evaluation = number, iteration, evaluation
        self.seen = []

    def advance(self, iteration, losses):
        self.seen.append(iteration)
        if iteration == self.iteration:
            os.kill(os.getpid(), self.number)

    def evaluated(self, iteration, metrics):
        if iteration == self.evaluation:
            os.kill(os.getpid(), self.number)


def result(trained):
    """The trained weights, the averaged ones where there are any, and the curve."""
    states = {"model": trained.runner.model.state_dict()}
    for hook in trained.runner.hooks:
        if hasattr(hook, "ema_model"):
            states["average"] = hook.ema_model.state_dict()
    return states, trained.curve


def assert_same(ours, theirs):
    assert ours[1] == theirs[1]
    assert list(ours[0]) == list(theirs[0])
    for part, state in ours[0].items():
        assert list(state) == list(theirs[0][part])
        for name, value in state.items():
            assert torch.equal(value, theirs[0][part][name]), (part, name)


CASES = {
    "boxes": ("faster", "mimic", None),
    "average": ("gfl", "fitnets", 0.3),
    "masks": ("pspnet", "hinton", None),
    "hints": ("gfl", "fitnets[variant=two-stage,stage=0.5]", None),
}


@pytest.fixture(scope="module")
def uninterrupted(bench, tmp_path_factory):
    """For each case, the result of a whole training."""
    found = {}
    for case, (kind, selector, average) in CASES.items():
        settings = {**RUN, "average": average}
        model = bench.distiller(kind, selector, **settings)
        folder = tmp_path_factory.mktemp(case)
        found[case] = result(bench.train(model, kind, folder, **settings))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "number", "where"),
    [
        ("boxes", signal.SIGINT, {"iteration": 3}),
        ("average", signal.SIGTERM, {"iteration": 4}),
        ("masks", signal.SIGINT, {"iteration": 6}),
        ("masks", signal.SIGINT, {"evaluation": 2}),
        ("masks", signal.SIGINT, {"evaluation": 6}),
        ("hints", signal.SIGTERM, {"iteration": 2}),  # inside the stage of hints
        ("hints", signal.SIGINT, {"iteration": 4}),  # after it
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_resumed_is_uninterrupted(bench, uninterrupted, tmp_path, case, number, where):
    kind, selector, average = CASES[case]
    settings = {**RUN, "average": average}
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    progress = Interrupting(number, **where)
    with pytest.raises(KeyboardInterrupt):
        bench.train(bench.distiller(kind, selector, **settings), kind, tmp_path, progress, **settings)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert (tmp_path / "last_checkpoint").is_file()
    stopped = progress.seen[-1]
    assert stopped == where.get("iteration", min(where.get("evaluation", 0) + 1, 6))
    resumed = Interrupting(number)
    model = bench.distiller(kind, selector, **settings)
    trained = bench.train(model, kind, tmp_path, resumed, **settings)
    assert resumed.seen == list(range(stopped + 1, 7))
    assert_same(result(trained), uninterrupted[case])
    assert [point["iteration"] for point in trained.curve] == [2, 4, 6]


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_checkpoint(bench, uninterrupted, tmp_path):
    """As after a power cut: an exception out of nowhere, no signal."""
    kind, selector, _ = CASES["masks"]

    def lost(iteration, _losses):
        if iteration == 5:
            raise MemoryError

    model = bench.distiller(kind, selector, **RUN)
    progress = SimpleNamespace(advance=lost, evaluated=lambda *_: None)
    with pytest.raises(MemoryError):
        bench.train(model, kind, tmp_path, progress, **RUN)
    trained = bench.train(bench.distiller(kind, selector, **RUN), kind, tmp_path, **RUN)
    assert_same(result(trained), uninterrupted["masks"])


@pytest.mark.slow
def test_an_evaluation_that_was_cut_short_is_made_up_for(bench, uninterrupted, tmp_path):
    kind, selector, _ = CASES["masks"]

    def lost(iteration, _metrics):
        if iteration == 4:
            raise MemoryError

    model = bench.distiller(kind, selector, **RUN)
    progress = SimpleNamespace(advance=lambda *_: None, evaluated=lost)
    with pytest.raises(MemoryError):
        bench.train(model, kind, tmp_path, progress, **RUN)
    trained = bench.train(bench.distiller(kind, selector, **RUN), kind, tmp_path, **RUN)
    assert_same(result(trained), uninterrupted["masks"])


@pytest.mark.slow
def test_a_second_training_of_the_same_name_begins_a_new_curve(bench, uninterrupted, tmp_path):
    kind, selector, _ = CASES["masks"]
    curves = [
        bench.train(bench.distiller(kind, selector, **RUN), kind, tmp_path / part, **RUN).curve
        for part in ("first", "second")
    ]
    assert curves == [uninterrupted["masks"][1]] * 2


def test_the_second_signal_stops_at_once():
    from kdbench.openmmlab.training.stopping import AGAIN, Stop, StopNow

    before = signal.getsignal(signal.SIGINT)
    stop = Stop()
    stop.watch()
    stop.watch()  # two lanes
    try:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # torchrun's, which passes on what the terminal sent already
        assert stop.signalled is not None
        stop.signalled -= 2 * AGAIN
        stop.release()
        with pytest.raises(StopNow):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        stop.release()
    assert signal.getsignal(signal.SIGINT) is before
