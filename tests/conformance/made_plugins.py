"""A good plugin as text, and copies of it with one promise broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CARD = '''
from typing import ClassVar, Literal
from pydantic import Field
from kdbench.api import MethodCard, Options, hookimpl


class GoodOptions(Options):
    """Options."""

    variant: Literal["mean", "sum"] = "mean"
    """How the maps' terms are put together."""
    weight: float = Field(default=1.0, ge=0)
    """Factor on the loss."""


@hookimpl
def kdbench_methods():
    return [
        MethodCard(
            name="NAME",
            title="A good method",
            authors="A. Author",
            year=2026,
            link="https://example.org",
            bibtex="@misc{good}",
            tasks=("segmentation",),
            equations="L = L_task + weight * mean (r(S) - T)^2",
            method="PACKAGE.method:Good",
            options=GoodOptions,
            variants={"mean": "their mean", "sum": "their sum"},
        )
    ]
'''
METHOD = """
import torch
from torch import nn
from kdbench.api import Method, adapter, student_and_teacher


class Good(Method):
    captures = ("neck",)
    # class

    def needs(self):
        return self.captures

    def build(self, shapes):
        pairs = zip(shapes.student["neck"], shapes.teacher["neck"], strict=True)
        self.adapters = nn.ModuleList(adapter(student, teacher) for student, teacher in pairs)
        # build

    def losses(self, step):
        terms, factor, weight = [], 1.0, self.options.weight
        # losses
        for adapt, ours, theirs in zip(self.adapters, step.student["neck"], step.teacher["neck"], strict=True):
            # level
            ours = adapt(ours, theirs.shape[-2:])
            ours, theirs = student_and_teacher(ours, theirs)
            terms.append((ours - theirs).square().mean())
        whole = torch.stack(terms)
        term = factor * (whole.mean() if self.options.variant == "mean" else whole.sum())
        return {"maps": weight * term}
"""


@dataclass(frozen=True)
class Copy:
    """A copy of the good plugin.

    Attributes:
        card: Text in the card's module -> its replacement.
        method: Text in the method's module -> its replacement.
    """

    card: Mapping[str, str] | None = None
    method: Mapping[str, str] | None = None


DETECTION = {'("segmentation",)': '("detection",)'}
HIDDEN = """
        import sys
        frame = sys._getframe()
        while frame is not None and not hasattr(frame.f_locals.get("self"), "student"):
            frame = frame.f_back
        model = None if frame is None else frame.f_locals["self"]
        if model is not None and "memory" not in dict(model.student.named_buffers()):
            model.student.register_buffer("memory", torch.zeros(1))
"""
"""A method has no reference to the student, but can find it by inspecting its callers' frames."""

BROKEN: Mapping[str, Copy] = {
    "card": Copy({'authors="A. Author"': 'authors=""'}),
    "light": Copy({"from typing": "import pandas\nfrom typing"}),
    "options": Copy({"default=1.0, ge=0": "default=-1.0, ge=0"}),
    "refusal": Copy(
        method={"return self.captures": 'return ("neck",) if self.options.variant == "mean" else ("necks",)'}
    ),
    "families": Copy(method={"# losses": 'step.student["backbone"]'}),
    "settings": Copy(method={"# losses": "torch.set_float32_matmul_precision('medium')"}),
    "teacher": Copy(method={"# level": "theirs.clamp_(min=0)"}),
    "parameters": Copy(method={"# losses": "self.late = nn.Parameter(torch.zeros(1))"}),
    "generator": Copy(method={"# losses": "factor = 1 + torch.rand(()) / 100"}),
    "order": Copy(DETECTION, {"# losses": "factor = 1 + step.targets.boxes[0].sum() / 1e4"}),
    "mirror": Copy(
        method={"# level": "theirs = theirs * torch.linspace(0, 1, theirs.shape[-1], device=theirs.device)"}
    ),
    "gradients": Copy(method={"# level": "ours = ours.detach()"}),
    "finite": Copy(method={"# losses": "factor = torch.tensor(30.0 - step.iteration).sqrt()"}),
    "seed": Copy(method={"# losses": "import os; factor = 1 + int.from_bytes(os.urandom(4), 'big') / 2**32"}),
    "zero": Copy(method={"weight * term}": "(weight + 0.01) * term}"}),
    "pack": Copy(
        method={
            "# class": "kept = {}",
            "# build": "self.kept.clear()",
            "# losses": "weight = self.kept.setdefault(step.iteration, weight)",
        }
    ),
    "resume": Copy(
        method={"# build": "self.count = 0", "# losses": "self.count += 1; factor = 1 / self.count"}
    ),
    "export": Copy(method={"        # losses\n": HIDDEN}),
    "no-boxes": Copy(DETECTION, {"# losses": "factor = 1 / len(torch.cat(step.targets.boxes))"}),
    "one-box": Copy(
        DETECTION,
        {
            "# losses": "spread = [boxes.std(0).mean() / 100 for boxes in step.targets.boxes if len(boxes)]\n"
            "        factor = 1 + torch.stack(spread).mean() if spread else 1.0"
        },
    ),
    "batch-of-one": Copy(method={"# level": "factor = 1 + theirs.mean((1, 2, 3)).std()"}),
    "odd-sizes": Copy(
        method={
            "# build": 'self.register_buffer("grid", torch.ones(shapes.student["neck"][0][-2:]))',
            "# level": "ours = ours * self.grid",
        }
    ),
    "amp": Copy(method={"            ours, theirs = student_and_teacher(ours, theirs)\n": ""}),
    "device": Copy(
        method={"# build": "self.grid = torch.ones(1, 1, 1, 1)", "# level": "ours = ours * self.grid"}
    ),
    "processes": Copy(
        method={
            "# build": "self.centre = nn.Parameter(torch.zeros(1), requires_grad=False)",
            "# losses": "self.centre.data += step.images.mean()",
        }
    ),
}
"""Promise -> a copy that breaks this promise."""

MORE: Mapping[str, tuple[str, Copy, str]] = {
    "device": ("device", BROKEN["device"], "plain attributes stay on the CPU: grid"),
    "no bibtex": ("card", Copy({"@misc": "misc"}), "bibtex does not begin with @"),
    "no method": ("card", Copy({"method:Good": "method:Bad"}), "has no attribute 'Bad'"),
    "not a method": ("card", Copy(method={"(Method)": ""}), "no subclass of kdbench.api.Method"),
    "a picture that is not": (
        "card",
        Copy({'("segmentation",)': '("segmentation",), attends="the edges"'}),
        "says what it attends to (the edges), but the method does not define attention()",
    ),
    "a variant not explained": (
        "card",
        Copy({', "sum": "their sum"': ""}),
        "'variant' takes ['mean', 'sum']",
    ),
    "two of them": (
        "light",
        Copy({"from typing": "import pandas, torchvision\nfrom typing"}),
        "torchvision",
    ),
    "anything goes": (
        "options",
        Copy({'"""Options."""': 'model_config = {"extra": "allow"}'}),
        "an unknown option is accepted",
    ),
    "infinity": (
        "options",
        Copy({'"""Options."""': 'model_config = {"allow_inf_nan": True}'}),
        "option 'weight' accepts inf",
    ),
    "no docstring": ("options", Copy({'    """Factor on the loss."""\n': ""}), "'weight' has no description"),
    "no default": ("options", Copy({"default=1.0, ": ""}), "'weight' has no default"),
    "impossible plain": (
        "options",
        Copy({'"""Options."""': 'plain: ClassVar = {"weight": -1}'}),
        "greater than or equal to 0",
    ),
    "no family": (
        "refusal",
        Copy(method={'captures = ("neck",)': 'captures = ("rois",)'}),
        "works in no family",
    ),
    "one family too few": (
        "refusal",
        Copy({'("segmentation",)': '("detection",), families=("dense",)'}),
        "the card's families are dense, and it works in dense, query, two-stage",
    ),
    "one task too many": (
        "refusal",
        Copy({'("segmentation",)': '("detection", "segmentation")'}, {'("neck",)\n': '("pixel_logits",)\n'}),
        "the card is for detection, where no family has what it captures: pixel_logits",
    ),
    "a number": (
        "families",
        Copy(method={"weight * term}": "0.0}"}),
        "failed in losses(): TypeError: it returned 'maps': a float, not a dict of scalar tensors",
    ),
    "a vector": (
        "families",
        Copy(method={"weight * term}": "weight * whole}"}),
        "tensor of shape (1,), not a dict",
    ),
    "a tensor": (
        "families",
        Copy(method={'{"maps": weight * term}': "term"}),
        "it returned a Tensor, not a dict",
    ),
    "nothing": ("families", Copy(method={'{"maps": weight * term}': "{}"}), "losses() gives no term"),
    "a broken variant": (
        "families",
        Copy(method={"whole.sum()": "whole.summ()"}),
        "made-up-a-broken-variant 1.0 failed in losses(): AttributeError",
    ),
    "an exit": ("families", Copy(method={"# losses": "raise SystemExit('bye')"}), "SystemExit: bye"),
    "the teacher's weights": (
        "families",
        Copy(
            method={
                "        # losses\n": HIDDEN[: HIDDEN.index("        if model")]
                + "        if model is not None:\n"
                + "            next(model.teacher.model.parameters()).data += 1\n"
            }
        ),
        "changed the teacher's weights during the training",
    ),
    "another dtype from its import on": (
        "settings",
        Copy(method={"from torch import nn": "from torch import nn; torch.set_default_dtype(torch.float64)"}),
        "it changes torch's default dtype from torch.float32 to torch.float64",
    ),
    "an idle adapter": (
        "gradients",
        Copy(method={"# build": "self.other = nn.Linear(1, 1)"}),
        "gives a gradient to the method's own other",
    ),
    "no switch": (
        "zero",
        Copy({"weight: float": "strength: float"}, {"self.options.weight": "self.options.strength"}),
        "write them into GoodOptions, such as `plain: ClassVar = {'strength': 0.0}`",
    ),
    "a second term": (
        "zero",
        Copy(method={"weight * term}": 'weight * term, "sparse": 0.01 * term}'}),
        "the term 'sparse' is 0.0",
    ),
    "a task weight": (
        "zero",
        Copy(method={"# class": "def task_weight(self, step):\n        return 0.5"}),
        "the student is not the plain one: task_weight() is 0.5 in iteration 0",
    ),
    "a teacher that learns": (
        "teacher",
        Copy(method={"# level": "theirs.requires_grad_()"}),
        "it changes the teacher's neck in place",
    ),
    "boxes in place": (
        "teacher",
        Copy(DETECTION, {"# losses": "step.targets.boxes[0].mul_(1.0)"}),
        "it changes the targets' boxes in place",
    ),
    "an adapter for each step": (
        "parameters",
        Copy(method={"# level": "ours = nn.Conv2d(ours.shape[1], ours.shape[1], 1)(ours)"}),
        "losses() makes the parameter 'weight' (made_up_an_adapter_for_each_step/method.py, line 23: ours =",
    ),
    "adapters in a list": (
        "parameters",
        Copy(method={"nn.ModuleList(": "list("}),
        "the term 'maps' gives a gradient to tensors (24, 16, 1, 1), (24,) that are neither",
    ),
    "a parameter before build": (
        "parameters",
        Copy(
            method={
                "# class": "def __init__(self, options):\n        super().__init__(options)\n"
                "        self.scale = nn.Parameter(torch.ones(1))"
            }
        ),
        "its constructor makes scale",
    ),
    "a late buffer": (
        "parameters",
        Copy(method={"# losses": 'self.register_buffer("count", torch.zeros(1))'}),
        "losses() makes the buffer 'count'",
    ),
    "dropout": (
        "generator",
        Copy(method={"# level": "ours = nn.functional.dropout(ours, 0.1)"}),
        "losses() uses torch's global generator (made_up_dropout/method.py, line 23: ours =",
    ),
    "numpy's numbers": (
        "generator",
        Copy(method={"# losses": "import numpy; factor = 1 + numpy.random.rand()"}),
        "losses() uses numpy's global generator (",
    ),
    "a seed in build": (
        "generator",
        Copy(method={"# build": "torch.manual_seed(0)"}),
        "build() seeds torch's global generator",
    ),
    "boxes of the next image": (
        "order",
        Copy(
            DETECTION,
            {
                "# level": "boxes = step.targets.boxes[1:] + step.targets.boxes[:1]\n"
                "            sums = torch.stack([part.sum() for part in boxes])\n"
                "            ours = ours * (1 + sums[:, None, None, None])"
            },
        ),
        "the term 'maps' is",
    ),
    "x taken for y": (
        "mirror",
        Copy(
            DETECTION,
            {
                "# level": "from kdbench.api import as_rois, coverage, stride_of\n"
                "            rois = as_rois([boxes[:, [1, 0, 3, 2]] for boxes in step.targets.boxes])\n"
                "            stride = stride_of(ours, step.targets.image_shape)\n"
                "            ours = ours * coverage(rois, len(ours), ours.shape[-2:], stride)[:, None]"
            },
        ),
        "when the batch is mirrored",
    ),
    "a cell too many": (
        "mirror",
        Copy(
            DETECTION,
            {
                "# level": "inside = torch.zeros_like(theirs[:, :1])\n"
                "            scale = theirs.shape[-1] / step.targets.image_shape[1]\n"
                "            for image, boxes in enumerate(step.targets.boxes):\n"
                "                for x1, _, x2, _ in (boxes * scale).int().tolist():\n"
                "                    inside[image, :, :, x1 : x2 + 2] = 1\n"
                "            ours = ours * inside"
            },
        ),
        "when the batch is mirrored left to right",
    ),
}
"""Mistake -> the promise that it breaks, the copy, and a part of the report."""


def write(folder: Path, name: str, copy: Copy) -> str:
    """Install a copy as a distribution of that name below a folder; return the folder for ``sys.path``."""
    package = name.replace("-", "_")
    site = folder / f"site_{package}"
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / package).mkdir()
    (site / package / "__init__.py").write_text(_changed(CARD, copy.card, name, package))
    (site / package / "method.py").write_text(_changed(METHOD, copy.method, name, package))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[kdbench]\nmain = {package}\n")
    return str(site)


def _changed(source: str, changes: Mapping[str, str] | None, name: str, package: str) -> str:
    for old, new in (changes or {}).items():
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source.replace("NAME", name).replace("PACKAGE", package)
