"""An adversary trains beside the student: after its step, on what it saw, without disturbing it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from small_bench import Silent
from torch import nn

from kdbench.cards import Options
from kdbench.distill import Method
from kdbench.errors import UserError

RUN = {"iterations": 4, "validations": 2, "warmup": 2}
WHOLE = "structured"


class Telling(Silent):
    """Keeps the losses, and may interrupt after an iteration."""

    def __init__(self, interrupt=None):
        self.losses, self.interrupt = [], interrupt

    def advance(self, iteration, losses):
        self.losses.append(losses)
        if iteration == self.interrupt:
            os.kill(os.getpid(), signal.SIGINT)


class Rival(Method):
    """Its adversary is one number; a test says what its loss is."""

    captures = ("neck",)

    def __init__(self, loss):
        super().__init__(Options())
        self.loss, self.steps = loss, []
        self.adapter = nn.Parameter(torch.ones(()))
        self.rival = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.rival.weight, 2.0)

    def losses(self, step):
        self.steps.append(("student", step))
        feature = step.student["neck"][0].mean()
        return {"pull": self.adapter * self.rival(feature[None]).sum()}

    def adversary(self):
        return self.rival

    def adversary_losses(self, step):
        self.steps.append(("rival", step))
        return {"value": self.loss(self.rival.weight.sum(), step)}

    def adversary_optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=1.0)


def with_rival(bench, loss, kind="gfl", iterations=4):
    from kdbench.openmmlab.training.distiller import Distiller

    student, method = bench.subject(kind).build(), Rival(loss)
    names = frozenset(method.captures)
    return Distiller(student, method, bench.teacher(kind), seed=0, iterations=iterations, names=names)


def equal(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def tensors(captures):
    return [part for value in captures.values() for part in (value if isinstance(value, tuple) else [value])]


@pytest.mark.slow
def test_it_steps_after_the_student_on_what_that_saw(bench, tmp_path):
    model = with_rival(bench, lambda weight, step: weight * 0.5)
    weights, heads = [], []

    def advance(iteration, losses):
        weights.append(float(model.method.rival.weight))
        heads.append(model.student.bbox_head.gfl_cls.weight.detach().clone())

    progress = Silent()
    progress.advance = advance
    schedule = {"decay": "step", "warmup": 2}
    bench.train(model, "gfl", tmp_path, progress, **schedule)
    kinds = [who for who, _ in model.method.steps]
    assert kinds == ["student", "rival"] * 4
    for (_, ours), (_, theirs) in zip(model.method.steps[::2], model.method.steps[1::2], strict=True):
        assert (ours.iteration, ours.iterations) == (theirs.iteration, theirs.iterations)
        assert ours.images is theirs.images
        assert ours.targets is theirs.targets
        assert all(part.requires_grad for part in tensors(ours.student))
        assert not any(part.requires_grad for part in tensors(theirs.student))
        pairs = zip(tensors(ours.student), tensors(theirs.student), strict=True)
        assert all(torch.equal(mine, its) for mine, its in pairs)
    assert model.seen is None
    # 0.5 a step, times the schedule: warm-up from 0.01, then x0.1 after 2 and 3 of 4 iterations
    falls = [before - after for before, after in zip([2.0, *weights], weights, strict=False)]
    assert falls == pytest.approx([0.005, 0.5, 0.05, 0.005], abs=1e-6)


@pytest.mark.slow
def test_only_its_own_step_gives_it_gradients(bench, tmp_path):
    model = with_rival(bench, lambda weight, step: weight * 0.0)
    seen = []

    def advance(iteration, losses):
        weight = model.method.rival.weight
        seen.append((float(weight), weight.requires_grad, weight.grad, losses))

    progress = Silent()
    progress.advance = advance
    bench.train(model, "gfl", tmp_path, progress)
    assert [part[:3] for part in seen] == [(2.0, False, None)] * 4
    assert all(part[3]["loss_adversary_value"] == 0.0 for part in seen)
    assert all(part[3]["loss_distill_pull"] != 0.0 for part in seen)
    assert float(model.method.adapter) != 1.0  # the student's optimizer has the rest of the method


def test_it_is_in_no_optimizer_of_the_student(bench):
    from kdbench.openmmlab.training.optimization import optim_wrapper

    model = bench.distiller("pspnet", WHOLE)
    wrapper = optim_wrapper(model.student, model.method, bench.subject("pspnet").schedule, "fp32", "cpu")
    trained = {id(p) for group in wrapper.optimizer.param_groups for p in group["params"]}
    critic = {id(p) for p in model.method.adversary().parameters()}
    assert critic
    assert not trained & critic
    assert trained == {id(p) for p in model.student.parameters()}
    inputs, samples = bench.probe("pspnet").batch(model.student)
    total, _ = model.parse_losses(model.train()(inputs, samples, mode="loss"))
    total.backward()
    assert all(p.grad is None for p in model.method.adversary().parameters())
    assert all(p.grad is not None for p in model.student.decode_head.parameters())


@pytest.mark.slow
def test_it_draws_from_a_random_state_of_its_own(bench, tmp_path):
    from kdbench.distill.randomness import seeded

    drawn, before, after = [], [], []

    def loss(weight, step):
        drawn.append(float(torch.rand(())))
        return weight * drawn[-1]

    model = with_rival(bench, loss)
    steps = model.method.adversary_losses
    states = []
    model.method.adversary_losses = lambda step: (states.append(torch.get_rng_state()), steps(step))[1]
    progress = Silent()
    progress.advance = lambda iteration, losses: after.append(float(torch.rand(())))
    bench.train(model, "gfl", tmp_path / "rival", progress)
    for iteration in range(4):
        with seeded(0, "step", iteration, 0, "adversary"):
            assert torch.equal(states[iteration], torch.get_rng_state())
            assert drawn[iteration] == float(torch.rand(()))
    progress.advance = lambda iteration, losses: before.append(float(torch.rand(())))
    bench.train(bench.distiller("gfl", "none"), "gfl", tmp_path / "none", progress)
    assert after == before


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_it_does_harm(bench, tmp_path, value):
    from kdbench.openmmlab.training.losses import NonFiniteLoss

    model = with_rival(bench, lambda weight, step: weight * (value if step.iteration == 2 else 0.5))
    with pytest.raises(NonFiniteLoss) as caught:
        bench.train(model, "gfl", tmp_path)
    assert (caught.value.iteration, caught.value.name) == (2, "loss_adversary_value")
    assert bool(torch.isfinite(model.method.rival.weight).all())
    assert not model.method.rival.weight.requires_grad


@pytest.mark.slow
def test_its_losses_are_in_the_log(bench, tmp_path):
    model = bench.distiller("pspnet", WHOLE, iterations=10)
    progress = Telling()
    trained = bench.train(model, "pspnet", tmp_path, progress, iterations=10, name="logged")
    shown = {"loss_distill_pixel", "loss_distill_pair", "loss_distill_holistic", "loss_adversary_critic"}
    assert all(shown <= set(losses) for losses in progress.losses)
    critic = [losses["loss_adversary_critic"] for losses in progress.losses]
    assert len(set(critic)) == 10
    kept = trained.runner.message_hub.get_scalar("train/loss_adversary_critic").data[0]
    assert list(kept) == pytest.approx(critic)
    assert "loss_adversary_critic" in next(tmp_path.rglob("scalars.json")).read_text()
    for losses in progress.losses:  # it is no part of the student's loss
        parts = [value for name, value in losses.items() if name.startswith(("decode", "loss_distill"))]
        assert losses["loss"] == pytest.approx(sum(parts), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "selector"),
    [
        ("pspnet", "structured[weight=0,adversarial_weight=0]"),
        ("pspnet", "structured[variant=holistic,adversarial_weight=0,spectral_norm=true]"),
        ("gfl", "structured[variant=pair,weight=0]"),
    ],
)
def test_a_weight_of_zero_is_the_plain_student(bench, tmp_path, kind, selector):
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    before = weights_hash(bench.teacher(kind).model)
    model, plain = bench.distiller(kind, selector), bench.distiller(kind, "none")
    fresh = {name: p.detach().clone() for name, p in model.method.named_parameters()}
    bench.train(model, kind, tmp_path / "zero")
    bench.train(plain, kind, tmp_path / "plain")
    assert equal(model.student, plain.student)
    assert not equal(model.student, bench.subject(kind).build())
    assert weights_hash(bench.teacher(kind).model) == before
    assert all(
        not torch.equal(p, fresh[name]) for name, p in model.method.named_parameters() if "gamma" not in name
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "selector"),
    [
        ("pspnet", WHOLE),
        ("fcn", "structured[nodes=2]"),
        ("deeplab", "structured[variant=holistic]"),
        ("faster", "structured[variant=pair]"),
        ("retinanet", "structured[variant=pair,nodes=4]"),
        ("fcos", "structured[variant=pair]"),
    ],
)
def test_it_changes_the_student_in_each_family(bench, tmp_path, kind, selector):
    from kdbench.openmmlab.students import train_with

    card, options = bench.card(selector)
    place, teacher = bench.place(tmp_path), bench.teacher(kind)
    outcome = train_with(bench.subject(kind), [teacher], card, options, place, Silent())
    assert outcome.curve[-1]["iteration"] == 4
    assert outcome.cost["gradient_share_start"] > 0
    assert (outcome.cost["added_parameters"] > 0) == ("pair" not in selector)
    assert not any("critic" in name for name in torch.load(tmp_path / "student.pth")["state_dict"])


@pytest.mark.parametrize(("kind", "selector"), [("gfl", WHOLE), ("faster", "structured[variant=pixel]")])
def test_what_needs_pixels_is_refused_in_detection(bench, tmp_path, kind, selector):
    from kdbench.openmmlab.students import train_with

    card, options = bench.card(selector)
    with pytest.raises(
        UserError, match=r"structured' of kdbench .* needs pixel_logits, .*; it works in: segmentation\."
    ):
        train_with(bench.subject(kind), [], card, options, bench.place(tmp_path), None)


@pytest.fixture(scope="module")
def uninterrupted(bench, tmp_path_factory):
    found = {}

    def of(selector, average):
        if (selector, average) not in found:
            model = bench.distiller("pspnet", selector, **RUN, average=average)
            folder = tmp_path_factory.mktemp("whole")
            found[selector, average] = bench.train(model, "pspnet", folder, **RUN, average=average), model
        return found[selector, average]

    return of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("selector", "average", "where"),
    [
        (WHOLE, None, 3),
        (WHOLE, 0.3, 2),
        ("structured[variant=holistic,spectral_norm=true]", None, 2),
    ],
)
def test_resumed_is_uninterrupted(bench, uninterrupted, tmp_path, selector, average, where):
    settings = {**RUN, "average": average}
    with pytest.raises(KeyboardInterrupt):
        bench.train(
            bench.distiller("pspnet", selector, **settings), "pspnet", tmp_path, Telling(where), **settings
        )
    content = torch.load(tmp_path / f"iter_{where}.pth", weights_only=False)
    momenta = content["kdbench_adversary_optimizer"]["state"]
    assert len(momenta) == len(list(uninterrupted(selector, average)[1].method.adversary().parameters()))
    assert any(state["momentum_buffer"].any() for state in momenta.values())
    model, progress = bench.distiller("pspnet", selector, **settings), Telling()
    trained = bench.train(model, "pspnet", tmp_path, progress, **settings)
    whole, expected = uninterrupted(selector, average)
    assert len(progress.losses) == 4 - where
    assert equal(model, expected)
    assert trained.curve == whole.curve


@pytest.mark.slow
def test_terms_and_critic_stay_in_float32_under_autocast(bench):
    model = bench.distiller("pspnet", WHOLE).train()
    inputs, samples = bench.probe("pspnet").batch(model.student)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, terms, _ = model.compute(inputs, samples)
        total, _ = model.parse_losses(losses | {f"loss_{name}": term for name, term in terms.items()})
    assert all(term.dtype == torch.float32 and bool(torch.isfinite(term)) for term in terms.values())
    total.backward()
    model.method.adversary().requires_grad_(True)
    (loss,) = model.method.adversary_losses(model.seen).values()
    loss.backward()
    assert loss.dtype == torch.float32
    for parameter in model.parameters():
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all())


TWO = """
# Two processes of one run; each writes down its critic at the start and the end, and the hash of its student.
import hashlib, os, sys
from pathlib import Path
out = Path(sys.argv[1])
from kdbench.openmmlab.setup import prepare_libraries
prepare_libraries("mmseg")
import torch
torch.set_num_threads(1)
from kdbench.openmmlab.training import adversary
from kdbench.openmmlab import students
from kdbench.openmmlab.weights.checkpoints import weights_hash
hook = adversary.AdversaryHook
before, after, averaged = hook.before_run, hook.after_train, adversary.all_reduce_params
grads = []
def tell(*words):
    with (out / ("rank" + os.environ["RANK"])).open("a") as file:
        file.write(" ".join(words) + chr(10))
def first(self, runner):
    before(self, runner)
    tell("before", weights_hash(adversary.distiller_of(runner).method.adversary()))
def last(self, runner):
    tell("after", weights_hash(adversary.distiller_of(runner).method.adversary()))
def reduced(params, op):
    own = hashlib.sha256(params[0].numpy().tobytes()).hexdigest()
    averaged(params, op=op)
    tell("gradient", own, hashlib.sha256(params[0].numpy().tobytes()).hexdigest())
hook.before_run, hook.after_train, adversary.all_reduce_params = first, last, reduced
bare = students._trained_student
def told(trained):
    tell("student", weights_hash(bare(trained)))
    return bare(trained)
students._trained_student = told
from kdbench.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_two_processes_share_one_critic(bench, tmp_path):
    from kdbench.datasets.digits_files import STAMP

    root, out, script = tmp_path / "data", tmp_path / "out", tmp_path / "two.py"
    root.mkdir()
    out.mkdir()
    script.write_text(TWO)
    (root / "digits").symlink_to(bench.folder)
    (bench.folder / "scenes.json").write_text(json.dumps(STAMP), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(script), str(out), "run", "--method", "structured", "--dataset", "digits-seg"]
    command += ["--schedule", "smoke", "--device", "cpu", "--json", "--force", "--root", str(root)]
    command += ["--results", str(tmp_path / "results"), "--work-dir", str(tmp_path / "runs")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    first, second = ((out / f"rank{rank}").read_text().splitlines() for rank in (0, 1))
    assert [line for line in first if "gradient" not in line] == [
        line for line in second if "gradient" not in line
    ]
    gradients = [[line.split()[1:] for line in lines if "gradient" in line] for lines in (first, second)]
    assert len(gradients[0]) > 1
    for ours, theirs in zip(*gradients, strict=True):
        assert ours[0] != theirs[0]  # each process saw its own images
        assert ours[1] == theirs[1]
    told = dict(line.split() for line in first if line.startswith(("before", "after")))
    assert told["before"] != told["after"]
