"""The guide's page "Which method for my detector?"."""

import importlib.util

import pytest
from results.samples import cell, cells, teacher

from .pages import ROOT

PAIRS = {"tiny-gfl": "dense", "tiny-rcnn": "two-stage"}


@pytest.fixture(scope="module")
def choosing():
    spec = importlib.util.spec_from_file_location("choosing", ROOT / "docs" / "choosing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def board(pair, gains, **more):
    """Return a ranking of methods with these gains, three seeds each."""
    more = {"pair": pair, "described": {"family": PAIRS[pair]}, **more}
    made = [*cells("none", {0: 0.5, 1: 0.52, 2: 0.51}, **more), teacher()]
    for name, (gain, noise) in gains.items():
        scores = {0: 0.5 + gain + noise, 1: 0.52 + gain - noise, 2: 0.51 + gain}
        made += cells(name, scores, seconds=0.15, **more)
    return made


def part(text, title):
    """Return the part of the page below a heading."""
    return text.partition(f"## {title}")[2].partition("\n## ")[0]


def lines(text, name):
    return [line for line in text.splitlines() if line.startswith(f"| [{name}]")]


def test_evidence_is_bold_and_comes_first(choosing):
    gains = {"mimic": (0.001, 0.01), "fgd": (0.2, 0.01), "hinton": (-0.2, 0.01)}
    page = "\n".join(choosing.page([*board("tiny-gfl", gains), *board("tiny-rcnn", {"mgd": (0.2, 0.01)})]))
    dense = part(page, "For a dense detector")
    assert "On `tiny-gfl` try `fgd` first: +20.0 [" in dense
    [fgd], [mimic], [hinton] = (lines(dense, name) for name in ("fgd", "mimic", "hinton"))
    assert "| **+20.0 [" in fgd
    assert "| +0.1 |" in mimic
    assert "| **-20.0 [" in hinton
    assert fgd.endswith("| +3.3 (+2.2 to +3.6, 5 results) | 1.50x |")
    assert dense.index(fgd) < dense.index(mimic) < dense.index(hinton)
    assert lines(dense, "ld") == ["| [ld](methods.md#ld) |  | +2.0 (+1.7 to +2.1, 3 results) |  |"]
    assert lines(dense, "cirkd") == lines(dense, "dist") == []
    assert "`mgd` first" in part(page, "For a two-stage detector")


def test_it_says_how_sure_it_is(choosing):
    more = {"cost": {"student_parameters": 250_000}}
    few = board("tiny-gfl", {"mimic": (0.001, 0.01)}, **more)
    text = part("\n".join(choosing.page(few)), "How sure this is")
    assert "small, of 0.25 to 0.25 million parameters" in text
    assert "fewer than 5 seeds" in text
    assert "- `tiny-gfl`: 3 seeds. Noise: " in text
    many = [
        r
        for seed in range(5)
        for r in (cell("none", 0.5, seed, pair="tiny-gfl"), cell("mgd", 0.5, seed, pair="tiny-gfl"))
    ]
    assert "fewer than" not in "\n".join(choosing.page(many))


def test_without_records_the_papers_remain(choosing):
    page = "\n".join(choosing.page([]))
    assert lines(part(page, "For a segmentation model"), "cirkd")[0].startswith(
        "| [cirkd](methods.md#cirkd) | +"
    )
    assert "million parameters" not in page


@pytest.mark.parametrize(
    ("student", "metric", "family"),
    [
        ("Faster R-CNN-R50", "mAP", "two-stage"),
        ("VGG-1-32 R-FCN", "AP", "two-stage"),
        ("RetinaNet-R50", "mAP", "dense"),
        ("PSPNet-R18", "mIoU", "segmentation"),
        ("toy net half width", "mAP", None),
    ],
)
def test_the_family_of_a_published_student(choosing, student, metric, family):
    assert choosing.family_of({"student": student, "metric": metric}) == family
