"""The software of a record as a requirements file."""

import pytest

from kdbench.results.environment import PACKAGES, requirements

from .samples import cell

FULL = {
    "python": "3.11.7",
    "kdbench": "kdbench 0.1.0",
    "torch": "torch 2.15.0",
    "torchvision": "torchvision 0.29.2",
    "mmengine": "onedl-mmengine 0.10.12",
    "mmcv": "onedl-mmcv 2.3.6",
    "mmdet": "onedl-mmdetection 3.5.1",
    "mmseg": "onedl-mmsegmentation 1.4.2",
    "numpy": "numpy 2.2.6",
    "scipy": "scipy 1.16.3",
    "cv2": "opencv-python 4.12.0.88",
    "PIL": "pillow 12.0.0",
}


def lines(versions, plugin="kdbench 0.1.0"):
    return requirements(cell(versions=versions, plugin=plugin))


def test_every_version_of_a_record_is_pinned_once():
    printed = lines(FULL)
    assert printed[0].startswith("# mimic on tiny, seed 0 (")
    assert printed[1] == "# Python 3.11.7"
    assert printed[2:4] == ["kdbench==0.1.0", "torch==2.15.0"]
    assert "onedl-mmsegmentation==1.4.2" in printed
    assert len(printed) == 2 + len(PACKAGES)
    assert lines(FULL, "kdbench-pkd 0.2.0")[-1] == "kdbench-pkd==0.2.0"


def test_what_a_record_lacks_is_said():
    printed = lines({name: FULL[name] for name in ("python", "kdbench", "torch", "mmcv")})
    assert printed[-1] == (
        "# The record has no version of torchvision, mmengine, mmdet, mmseg, numpy, scipy, cv2, PIL."
    )
    assert lines({})[1] == "# Python of an unknown version"


def test_the_index_of_a_build_of_torch():
    printed = lines({**FULL, "torch": "torch 2.15.0+cu128", "torchvision": "torchvision 0.29.2+cu128"})
    assert printed[2] == "--extra-index-url https://download.pytorch.org/whl/cu128"
    assert "torch==2.15.0+cu128" in printed
    assert not [line for line in lines({**FULL, "numpy": "numpy 2.2.6+mine"}) if line.startswith("--")]


@pytest.mark.parametrize(
    "text", ["torch 2.15.0\n--index-url http://x", "-r x 1", "torch", "torch 2 ; x", "--pre 1"]
)
def test_a_version_that_is_none_is_no_line(text):
    printed = lines({**FULL, "torch": text})
    assert printed[-1] == "# The record has no version of torch."
    assert len(printed) == 2 + len(PACKAGES)


def test_a_comment_is_one_line():
    assert all(line.startswith("#") for line in lines({"python": "3.11\n--index-url http://x"}, plugin=""))


def test_a_bare_version_is_that_of_the_package():
    assert "kdbench==0.2.0" in lines({"kdbench": "0.2.0"}, plugin="")
