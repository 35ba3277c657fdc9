import math

import lacking
import pytest

from kdbench.benchmarks import options_of
from kdbench.plugins import registry
from kdbench.results.papers import nearest_published

from .samples import cell, cells, leaderboard


def run(selector, task="detection", dataset="digits", **more):
    """A cell of one of our methods."""
    described = {"task": task, **more.pop("described", {})}
    return cell(selector, dataset=dataset, options=options_of(selector), described=described, **more)


def depth(layers):
    return {"student": {"config": "x.py", "edits": {"backbone.depth": layers}}}


@pytest.mark.parametrize(
    ("record", "difference", "setting"),
    [
        (run("fine-grained"), 0.038, "VOC07 AP50, Faster R-CNN-R101 to Faster R-CNN-R101 (0.5) [P]"),
        (
            run("fine-grained", described=depth(50)),
            0.029,
            "VOC07 AP50, Faster R-CNN-R101 to Faster R-CNN-R50 [P]",
        ),
        (
            run("fine-grained[variant=gt-boxes]"),
            0.020,
            "KITTI mAP, toy net full width to toy net quarter width [D]",
        ),
        (run("chen"), 0.047, "VOC07 AP50, Faster R-CNN-VGG16 to Faster R-CNN-Tucker [P]"),
        (run("mimic"), 0.006, "WIDER FACE easy AP, VGG-1-32 R-FCN [P]"),
        (run("mimic[variant=whole-map]"), 0.015, "COCO mAP, Faster R-CNN-R152 to Faster R-CNN-R50 [C]"),
        (run("structured", "segmentation", described=depth(18)), 0.0626, "Cityscapes mIoU, PSPNet-R101"),
        (
            run("structured", "segmentation", "camvid", described=depth(18)),
            0.007,
            "CamVid mIoU, PSPNet-R101 to PSPNet-R18 [P]",
        ),
    ],
)
def test_nearest_published_setting(record, difference, setting):
    got = nearest_published(record)
    assert got.difference == pytest.approx(difference)
    assert got.setting.startswith(setting)


@pytest.mark.parametrize(
    "record",
    [
        run("hinton"),
        run("hinton", "segmentation"),
        run("fitnets"),
        run("mimic[variant=gt-boxes]"),
        run("fine-grained[weight=1]"),
        run("structured", "detection"),
        run("structured", "nothing"),
        cell("not-installed"),
        cell("fine-grained"),
        cell("none"),
    ],
    ids=lambda record: f"{record.selector}, {record.spec['pair'].get('task')}",
)
def test_blank_where_nothing_is_nearest_published(record):
    """Errors are not better when more; another option is another method; a variant may not be in the paper."""
    got = nearest_published(record)
    assert math.isnan(got.difference)
    assert got.setting == ""


@pytest.mark.parametrize(
    ("selector", "task", "difference", "setting"),
    [
        ("cwd", "detection", 0.031, "COCO mAP, RetinaNet-X101 to RetinaNet-R50 [C]"),
        ("cwd[where=logits]", "detection", 0.017, "COCO mAP, GFL-R101 to GFL-R50 [C]"),
        ("cwd[where=logits]", "segmentation", 0.0067, "Cityscapes mIoU, PSPNet-R101 to PSPNet-R18 [C]"),
        ("pkd[weight=6]", "detection", 0.041, "COCO mAP, Mask R-CNN-Swin to RetinaNet-R50 [C]"),
        ("cwd", "segmentation", math.nan, ""),
        ("cwd[weight=3]", "detection", math.nan, ""),
        ("pkd[weight=2]", "detection", math.nan, ""),
        ("pkd", "segmentation", math.nan, ""),
    ],
)
def test_a_method_without_variants_is_known_by_its_options(selector, task, difference, setting):
    for package in ("kdbench_cwd", "kdbench_pkd"):
        lacking.extra(package, "pip install -e plugins/kdbench-cwd -e plugins/kdbench-pkd")
    got = nearest_published(run(selector, task))
    assert got.difference == pytest.approx(difference, nan_ok=True)
    assert got.setting == setting


def test_options_that_raise_are_warned_of_and_leave_the_column_blank(add_plugin, monkeypatch):
    source = """
    from pydantic import field_validator
    class Moody(Options):
        weight: float = 1.0
        @field_validator("weight")
        @classmethod
        def raises(cls, value):
            raise RuntimeError("not today")
    @hookimpl
    def kdbench_methods():
        yield card("moody", options=Moody)
    """
    add_plugin("bad-kd", source)
    record = cell("moody[weight=2]", options={"weight": 2.0}, described={"task": "detection"})
    with pytest.warns(UserWarning, match=r"method 'moody' of bad-kd 1\.0 failed in its options.*not today"):
        assert math.isnan(nearest_published(record).difference)


def test_rows_that_are_no_comparison_are_passed_over(tmp_path, monkeypatch):
    text = (
        "table,dataset,teacher,student,variant,metric,value,source\n"
        "1,VOC07,,S,imitation,mAP,about 50,P\n2,VOC07,,S,plain,mAP,40,P\n3,KITTI,,S,imitation\n"
        "4,KITTI,T,S,imitation,mAP,41,X\n4,KITTI,,S,plain,mAP,40,X\n"
    )
    file = tmp_path / "reported.csv"
    file.write_text(text)
    card = registry().method("fine-grained").value
    monkeypatch.setitem(card.__dict__, "reported", file)
    assert nearest_published(run("fine-grained")) == (pytest.approx(0.01), "KITTI mAP, T to S [X]")


def test_it_stands_in_the_leaderboard():
    more = {"options": options_of("chen"), "described": {"task": "detection"}}
    plain = cells("none", {0: 0.5, 1: 0.6}, described={"task": "detection"})
    frame = leaderboard([*plain, *cells("chen", {0: 0.6, 1: 0.7}, **more)], "digits").set_index("method")
    assert frame.loc["chen", "paper_difference"] == pytest.approx(0.047)
    assert frame.loc["chen", "paper_setting"] == "VOC07 AP50, Faster R-CNN-VGG16 to Faster R-CNN-Tucker [P]"
    assert math.isnan(frame.loc["none", "paper_difference"])


@pytest.mark.parametrize(
    ("family", "difference", "setting"),
    [
        ("two-stage", 0.019, "COCO mAP, Faster R-CNN-R101 to Faster R-CNN-R50 [C]"),
        ("dense", 0.038, "COCO mAP, FCOS-X101 to RetinaNet-R50 [C]"),
    ],
)
def test_a_detector_is_compared_with_one_of_as_many_stages(family, difference, setting):
    lacking.extra("kdbench_pkd", "pip install -e plugins/kdbench-pkd")
    got = nearest_published(run("pkd", described={"family": family}))
    assert (got.difference, got.setting) == (pytest.approx(difference), setting)
