"""benchmarks/gpu/kit.py: the packages that a machine lacks, and a smaller CamVid."""

from __future__ import annotations

import cv2
import kit
import numpy as np


def test_what_is_needed_is_closed_and_leaves_out_what_is_there():
    whole = kit.needed(["pydantic"], set(), "3.12")
    assert {"pydantic", "pydantic-core", "annotated-types", "typing-extensions"} <= whole
    assert kit.needed(["pydantic"], {"pydantic-core", "typing-extensions"}, "3.12") == whole - {
        "pydantic-core",
        "typing-extensions",
    }
    assert not {"torch", "torchvision"} & kit.needed(kit.dependencies("kdbench", "3.12"), set(), "3.12")


def test_images_become_jpeg_under_their_names_and_masks_stay(tmp_path):
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (80, 60))
    for folder in ("train", "trainannot"):
        (tmp_path / "CamVid" / folder).mkdir(parents=True)
        assert cv2.imwrite(str(tmp_path / "CamVid" / folder / "one.png"), image)
    (tmp_path / "CamVid" / "train.txt").write_text("one.png\n")
    kit.smaller(tmp_path / "CamVid", tmp_path / "small")
    made, mask = tmp_path / "small" / "train" / "one.png", tmp_path / "small" / "trainannot" / "one.png"
    assert made.read_bytes().startswith(b"\xff\xd8")
    assert np.abs(cv2.imread(str(made)).astype(int) - image).mean() < 8
    assert (cv2.imread(str(mask)) == image).all()
    assert (tmp_path / "small" / "train.txt").read_text() == "one.png\n"
