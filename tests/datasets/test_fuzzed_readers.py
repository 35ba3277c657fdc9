"""Truncated and absurd annotations of each format but COCO's: read, or refused in one line with the file's name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from datasets_support import annotation, card
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kdbench.cli import main
from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets.usable import check_files
from kdbench.datasets.verify import verify
from kdbench.errors import UserError

SIZE = (64, 48)
KITTI = (
    "Car 0 0 -0.2 1.5 2 30 40 1.9 0.5 1.2 1.84 1.47 8.41 0.01\nDontCare -1 -1 -10 5 5 9 9 -1 -1 -1 0 0 0 0"
)
CALTECH = "% bbGt version=3\nperson 10 5 20 40 1 10 5 20 30 0 0\nignore 1 1 5 5 0 0 0 0 0 1 0\n"
WIDER = "0--Parade/a.jpg\n2\n4 3 12 14 0 0 0 0 0 0\n1 2 5 0 2 0 0 1 0 0\n"


def mask() -> bytes:
    buffer = io.BytesIO()
    values = np.zeros(SIZE[::-1], np.uint8)
    values[:9], values[20:] = 1, 255
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


FORMATS: dict[str, tuple[str, bytes, dict[str, object]]] = {
    "voc": ("labels/a.xml", annotation(("cat", (1, 1, 30, 20)), size=SIZE).encode(), {}),
    "ilsvrc": (
        "labels/a.xml",
        annotation(("n1", (0, 0, 30, 20)), size=SIZE).encode(),
        {"classes": ("red_cat",), "metric": "AP_ILSVRC"},
    ),
    "masks": ("labels/a.png", mask(), {}),
    "kitti": ("labels/a.txt", KITTI.encode(), {"classes": ("Car",), "metric": "AP40_moderate"}),
    "caltech": ("labels/a.jpg.txt", CALTECH.encode(), {"classes": ("pedestrian",), "metric": "MR"}),
    "widerface": (
        "labels.txt",
        WIDER.encode(),
        {"classes": ("face",), "metric": "AP_hard", "image_suffix": ""},
    ),
}
"""Format -> file of the annotation, a good content, and fields of the card."""
ABSURD = (
    b"",
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"9" * 5000,
    b"\0",
    b"\xff\xfe",
    b"\n",
    b" ",
    b"</",
    b"&x;",
    b"[]",
    b"../",
)
bad = st.sampled_from(ABSURD) | st.binary(max_size=20)


def dataset_of(name: str, folder: Path) -> Dataset:
    """Write an image, in both splits, without its annotation."""
    file, _, fields = FORMATS[name]
    (folder / "images" / "0--Parade").mkdir(parents=True, exist_ok=True)
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / "names.txt").write_text("a\n")
    (folder / "map_det.txt").write_text("n1 1 red cat\n")
    for part in ("face", "easy", "medium", "hard"):
        (folder / f"wider_{part}_val.mat").touch()
    for path in ("a.png", "0--Parade/a.jpg"):
        Image.new("RGB", SIZE).save(folder / "images" / path)
    listed = name != "widerface"
    part = Split("names.txt", "images", "labels") if listed else Split("", "images", "labels.txt")
    splits = dict.fromkeys(("train", "test"), (part,))
    return card("segmentation" if name == "masks" else "detection", format=name, splits=splits, **fields)


@pytest.mark.parametrize("name", FORMATS)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_annotation_is_read_or_refused_in_one_line(
    name: str, tmp_path: Path, data: st.DataObject
) -> None:
    dataset, (file, good, _) = dataset_of(name, tmp_path), FORMATS[name]
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, len(good)) | st.just(len(good)))
    (tmp_path / file).write_bytes(good[:start] + data.draw(bad) + good[end:])
    before = sorted(tmp_path.rglob("*"))
    found = [one for one in verify(dataset, tmp_path, pixels=True).errors if "named in train" not in one.what]
    assert all(file in str(one) and len(str(one).splitlines()) == 1 for one in found)
    if found:
        with pytest.raises(UserError) as told:
            check_files(dataset, tmp_path, None)
        assert len(str(told.value).splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", FORMATS)
def test_the_command_ends_with_one_line_and_code_2(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fresh_registry: None,
) -> None:
    folder = tmp_path / "data"
    dataset, (file, good, _) = dataset_of(name, folder), FORMATS[name]
    (folder / file).write_bytes(good[: len(good) // 2])
    monkeypatch.chdir(tmp_path)
    parts = "{images: data/images, annotations: data/%s, names: %s}"
    part = parts % (("labels", "data/names.txt") if dataset.splits["test"][0].names else ("labels.txt", '""'))
    lines = [
        "title: Damaged",
        f"dataset: {{name: damaged, format: {name}, train: {part}, test: {part},",
        f"  classes: [{', '.join(dataset.classes)}], image_suffix: '{dataset.image_suffix}'}}",
        "pairs: [{name: two, teacher: {config: a.py}, student: {config: a.py}, schedule: "
        "{iterations: 1, batch_size: 1, lr: 1, scale: [64, 48]}}]",
        "methods: [none]\nseeds: [0]",
    ]
    (tmp_path / "damaged.yaml").write_text("\n".join(lines))
    before = sorted(tmp_path.rglob("*"))
    assert main(("data", "verify", "damaged.yaml")) == 2
    told = capsys.readouterr().err.splitlines()
    assert any(line.startswith(f"error: data/{file}: ") for line in told)
    assert sorted(tmp_path.rglob("*")) == before
