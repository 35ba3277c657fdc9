"""`kdbench show-mask`: the picture of what a method attends to."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kdbench.cli.panels import COLOUR, OPACITY, caption, draw, panel
from kdbench.offers import ENVIRONMENT

THEIRS = """
class Anywhere(Options):
    what: str = "half"

@hookimpl
def kdbench_methods():
    return [card("their", options=Anywhere, method="their_attention:Theirs", tasks=("detection", "segmentation"))]
"""
ATTENTION = """
from kdbench.distill import Method

class Theirs(Method):
    captures = ("neck",)

    def build(self, shapes):
        raise AssertionError("a picture needs no adapters")

    def attention(self, step):
        level = step.student["neck"][-1][:, 0]
        half = level.new_zeros(level.shape)
        half[:, :, : level.shape[-1] // 2] = 1
        if self.options.what == "teacher":
            return {"teacher": step.teacher["neck"][-1][:, 0] * 0 + 0.5}
        maps = {"half": {"left": half, "all": half * 0 + 1}, "none": {}, "wrong": {"x": half * 3}}
        return maps[self.options.what]
"""


@pytest.fixture
def place(tmp_path, monkeypatch, small_digits):
    """An empty folder, which is the current one, and the small scenes as data."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    return folder


@pytest.fixture
def theirs(place, add_plugin, tmp_path, monkeypatch):
    """Somebody's method, for detection and segmentation."""
    add_plugin("their-kd", THEIRS)
    (tmp_path / "site_their-kd" / "their_attention.py").write_text(ATTENTION)
    monkeypatch.setenv(ENVIRONMENT, "kdbench,their-kd")
    yield
    sys.modules.pop("their_attention", None)


def refused(done) -> str:
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.err
    return done.err.splitlines()[-1]


def coloured(weights: np.ndarray, **truth: Any) -> np.ndarray:
    """Where the panel of a grey image of 60 x 40 pixels, 10 of them padding on the right, has the colour."""
    seen = SimpleNamespace(
        image=np.full((40, 60, 3), 100, np.uint8), size=(40, 50), boxes=np.zeros((0, 4)), mask=None
    )
    vars(seen).update(truth)
    pixels = np.asarray(panel(seen, weights.astype(np.float32))).astype(int)  # type: ignore[arg-type]
    assert pixels.shape == (336, 420, 3)
    return np.abs(pixels - (OPACITY * np.array(COLOUR) + (1 - OPACITY) * 100)).max(axis=-1) < 2


def test_a_map_lies_over_the_whole_padded_image():
    weights = np.zeros((2, 3))
    weights[0, 0] = weights[1, 2] = 1
    found = coloured(weights)
    # Each cell is 20 pixels of 8.4; the last column shows half, as the rest is padding.
    assert found[:168, :168].all()
    assert found[168:, 336:].all()
    assert found.mean() == pytest.approx(0.5 * 0.4 + 0.5 * 0.2, abs=0.01)
    assert not coloured(weights * 0.5).any()
    assert coloured(np.ones((1, 1))).all()


def test_boxes_and_classes_are_outlined():
    boxes = np.array([[10.0, 10, 30, 20], [5, 5, 5, 5]])
    found = coloured(np.ones((2, 3)), boxes=boxes)
    assert not found[84, 84:252].any()
    assert not found[84:168, 252].any()
    assert found[90:160, 90:246].all()
    mask = np.zeros((40, 60), np.int64)
    mask[:, 25:] = 255
    found = coloured(np.ones((2, 3)), mask=mask)
    assert (~found).any(axis=1).all()
    assert 0 < (~found).mean() < 0.01


def test_a_panel_a_map_and_room_for_the_texts():
    seen = SimpleNamespace(
        image=np.full((40, 60, 3), 100, np.uint8), size=(40, 60), boxes=np.zeros((0, 4)), mask=None
    )
    widths = []
    for count, title in ((1, "a title"), (3, "a title"), (1, "a long title " * 20)):
        seen.maps = {str(number): np.ones((2, 3), np.float32) for number in range(count)}
        widths.append(draw(seen, title).width)  # type: ignore[arg-type]
    assert widths[0] == 420 + 28
    assert widths[1] == 3 * 434 + 14
    assert widths[2] > 1000
    assert caption("x", np.zeros((2, 3), np.float32)) == "x: 3 x 2 cells, nothing attended"
    assert caption("x", np.full((2, 3), 0.25, np.float32)) == "x: 3 x 2 cells, 25.0 % attended"


@pytest.mark.parametrize("pair", ["digits-faster-rcnn", "digits-gfl"])
def test_a_region_is_drawn(kdbench, place, pair):
    done = kdbench("show-mask", "fine-grained", "--dataset", "digits", "--pair", pair, "--index", "3")
    assert done.code == 0, done.err
    assert done.out == "wrote mask.png: fine-grained on digits, train image 3 (train_0003)\n"
    assert "student: untrained, seed 0; there is no out/runs/" in done.err
    assert "teacher" not in done.err
    picture = Image.open(place / "mask.png")
    assert picture.format == "PNG"
    assert picture.width > 3 * 420
    assert list(place.iterdir()) == [place / "mask.png"]


@pytest.mark.parametrize(
    "name",
    ["mgd", *(pytest.param(name, marks=pytest.mark.release) for name in ("fgd", "ld", "gid", "defeat"))],
)
def test_methods_of_dense_detectors_draw_what_their_card_says(kdbench, place, name):
    done = kdbench("show-mask", name, "--dataset", "digits", "--pair", "digits-gfl")
    assert done.code == 0, done.err
    assert Image.open(place / "mask.png").width > 3 * 420


def test_the_same_again_and_other_images(kdbench, place):
    def picture(*more: str) -> bytes:
        options = ("--dataset", "digits", "--output", "made/one.PNG", *more)
        assert kdbench("show-mask", "fine-grained", *options).code == 0
        return (place / "made/one.PNG").read_bytes()

    first = picture()
    assert picture() == first
    assert picture("--index", "1") != first
    assert picture("--split", "test") != first
    assert (
        "fine-grained[variant=gt-boxes] on digits, test image 5"
        in kdbench(
            "show-mask", "fine-grained[variant=G]", "--dataset", "digits", "--split", "test", "--index", "5"
        ).out
    )


def test_what_the_method_sees_of_trained_models(kdbench, place):
    from kdbench.openmmlab.models.building import build_model, full_config
    from kdbench.runs.plan import plan
    from kdbench.runs.request import Request

    planned = plan(Request(method="mimic", dataset="digits"))
    told = kdbench("show-mask", "mimic", "--dataset", "digits").err
    assert "student: untrained" in told
    assert "teacher: untrained" in told
    before = (place / "mask.png").read_bytes()
    import torch

    pair = planned.cell.pair
    for spec, model, recipe in (
        (planned.cell, pair.student, pair.schedule),
        (planned.teacher, pair.teacher, pair.teacher_schedule),
    ):
        folder = place / "out/runs" / spec.identity()[:16]
        folder.mkdir(parents=True)
        config = full_config(model, planned.dataset, recipe, pretrained=False)
        state = build_model(config, planned.dataset, 5).state_dict()
        torch.save({"state_dict": state}, folder / "student.pth")
    told = kdbench("show-mask", "mimic", "--dataset", "digits").err
    assert f"student: trained, out/runs/{planned.cell.identity()[:16]}/student.pth" in told
    assert f"teacher: trained, out/runs/{planned.teacher.identity()[:16]}/student.pth" in told
    assert (place / "mask.png").read_bytes() != before
    assert (
        "student: untrained" in kdbench("show-mask", "mimic", "--dataset", "digits", "--work-dir", "no").err
    )


@pytest.mark.parametrize("dataset", ["digits", "digits-seg"])
def test_any_method_may_give_a_picture(kdbench, theirs, place, dataset):
    done = kdbench("show-mask", "their", "--dataset", dataset)
    assert done.code == 0, done.err
    assert "teacher" not in done.err
    assert Image.open(place / "mask.png").width == 2 * 434 + 14
    done = kdbench("show-mask", "their[what=teacher]", "--dataset", dataset)
    assert done.code == 0
    assert "teacher: untrained" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none"], "method 'none' has no picture to show: it does not define attention()."),
        (["hinton"], "method 'hinton' has no picture to show"),
        (["fine-grained[variant=D]"], "method 'fine-grained' has no picture to show with these options"),
        (["fine-graned"], "unknown method 'fine-graned'"),
        (["fine-grained[variant=X]"], "option 'variant' got 'X'"),
        (["fine-grained", "--index", "12"], "--index 12: the train split of digits has 12 images, 0 to 11."),
        (["fine-grained", "--split", "test", "--index", "6"], "the test split of digits has 6 images"),
        (["fine-grained", "--pair", "bccd-gfl"], "pair 'bccd-gfl' is for dataset 'bccd'"),
        (["mimic", "--pair", "digits-gfl"], "Pairs of digits that work: digits-faster-rcnn"),
        (["fine-grained", "--output", "mask.jpg"], "--output mask.jpg must end in .png."),
        (["fine-grained", "--output", "file/mask.png"], "cannot write file/mask.png: "),
        (["fine-grained", "--output", "file/deep/mask.png"], "cannot write file/deep/mask.png: "),
    ],
)
def test_mistakes(kdbench, place, arguments, told):
    (place / "file").write_text("in the way")
    assert told in refused(kdbench("show-mask", *arguments, "--dataset", "digits"))
    assert list(place.iterdir()) == [place / "file"]


@pytest.mark.parametrize(
    ("dataset", "told"),
    [("digit", "unknown dataset 'digit'"), ("digits-seg", "'digits-seg' is segmentation"), ("voc", "not in")],
)
def test_datasets_that_are_not_there(kdbench, place, dataset, told):
    assert told in refused(kdbench("show-mask", "fine-grained", "--dataset", dataset))


def test_attention_that_is_no_picture(kdbench, theirs):
    told = refused(kdbench("show-mask", "their[what=wrong]", "--dataset", "digits"))
    assert "attention() of 'their' must give (images, h, w) weights in [0, 1]: 'x' is not." in told
    told = refused(kdbench("show-mask", "their[what=none]", "--dataset", "digits"))
    assert "no picture to show with these options" in told


def test_a_write_that_fails_leaves_nothing(kdbench, place, monkeypatch):
    def full(_self, target, format):
        target.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    told = refused(kdbench("show-mask", "fine-grained", "--dataset", "digits"))
    assert told == "error: cannot write mask.png: No space left on device."
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_an_image_of_bccd(kdbench, place, shared_data):
    (place / "data").mkdir()
    (place / "data/bccd").symlink_to(shared_data / "BCCD")
    done = kdbench("show-mask", "fine-grained", "--dataset", "bccd", "--index", "3", "--root", "data")
    assert done.code == 0, done.err
    assert "train image 3 (BloodImage_00005)" in done.out
    # Three panels of three by four, text above.
    assert Image.open(place / "mask.png").size == (3 * 434 + 14, 14 + 2 * 26 + 315 + 14)


def test_the_command_is_light_until_it_runs():
    code = (
        "import sys; from kdbench.cli import main; main(['show-mask', '--help']);"
        "print(sorted({'torch', 'numpy', 'pandas', 'mmengine', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "what a method attends to" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
