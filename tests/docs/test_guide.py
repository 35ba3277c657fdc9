"""Following a page of the guide word for word gives the promised results."""

import contextlib
import itertools
import json
import os
import re
import shlex
import subprocess
import sys

import click
import pytest
import yaml
from PIL import Image, ImageDraw

from kdbench.benchmarks import Benchmark
from kdbench.cli import cli
from kdbench.errors import UserError

from .pages import GUIDE, ROOT, Environment, blocks

PASSED = "kdbench conformance: "


@pytest.fixture
def environment(tmp_path):
    """A new virtual environment and an empty folder, without kdbench's environment variables."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("KDBENCH_")}
    return Environment(tmp_path, {"OMP_NUM_THREADS": "1", **variables})


def photos(folder, counts):
    """Write images of grey rectangles, with a folder and a COCO json for each split."""
    number = 0
    for split, count in counts.items():
        (folder / split).mkdir(parents=True)
        content = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 1, "name": "ok"}, {"id": 2, "name": "bent"}],
        }
        for _ in range(count):
            number += 1
            image, box = Image.new("RGB", (160, 120), "white"), (20 + 3 * number, 30, 50, 50)
            ImageDraw.Draw(image).rectangle((box[0], 30, box[0] + 50, 80), fill="grey")
            image.save(folder / split / f"{number:04d}.png")
            content["images"].append(
                {"id": number, "file_name": f"{number:04d}.png", "width": 160, "height": 120}
            )
            entry = {
                "id": number,
                "image_id": number,
                "category_id": 1 + number % 2,
                "bbox": box,
                "iscrowd": 0,
            }
            content["annotations"].append(entry)
        (folder / f"{split}.json").write_text(json.dumps(content))


@pytest.mark.release
def test_write_a_method(environment):
    installed, tested, report, row = environment.follow("method.md")
    assert "kdbench-my-method" in installed
    assert "2 passed" in tested
    assert PASSED in report.strip().splitlines()[-1]
    assert "my-method" in row
    (record,) = (environment.home / "results" / "records").rglob("my-method-seed0-*.json")
    assert json.loads(record.read_text())["status"] == "done"


@pytest.mark.slow
def test_bring_data_and_a_pair(environment):
    photos(environment.home / "photos", {"train": 8, "val": 4})
    written, planned, own, prepared, shown = environment.follow("data.md")
    assert "train: 8 images, 8 boxes (coco, photos/train.json)" in written
    assert planned.startswith("12 cells: 12 to run")
    assert own.startswith("9 cells: 9 to run")
    assert "screws is ready" in prepared
    assert "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py" in shown


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, small_digits):
    """Run the blocks of python.md one after the other, in a folder with the committed records."""
    (tmp_path / "results").symlink_to(ROOT / "results")
    cells = [block.code for block in blocks("python.md")]
    variables = {**os.environ, "KDBENCH_DATA": str(small_digits), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(cells)], cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"mimic, seed 0: AP50 0\.\d{3}", lines[0])
    swept = [line.split()[:2] for line in lines[1:7]]
    assert sorted(swept) == sorted(
        [name, seed] for name in ("none", "mimic", "hinton[temperature=4]") for seed in "01"
    )
    assert re.fullmatch(r"hinton\S* AP50 0\.\d{3}, plain student 0\.\d{3}", lines[7])
    assert lines[8] == "agrees identical in every metric"
    assert any(re.search(r"digits-gfl +hinton ", line) for line in lines)
    assert any(line.startswith("none mimic [") for line in lines)
    assert lines[-1].startswith("`device` tpu: use cpu or")
    assert "hinton[temperature=4], seed 1, digits-faster-rcnn: AP50 0." in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"results", "out"}


def test_a_command_that_fails_fails(environment):
    with pytest.raises(AssertionError, match="no method, dataset, pair or model is named"):
        environment.run("kdbench show there-is-no-such-method")


def test_the_benchmark_file_is_one():
    (file,) = (block for block in blocks("cluster.md") if block.language == "yaml")
    assert Benchmark.model_validate(yaml.safe_load(file.code)).title


@pytest.mark.parametrize("page", sorted(path.name for path in GUIDE.glob("*.md")))
def test_every_command_is_understood(page, tmp_path, monkeypatch):
    """Check names, options and arguments of all commands, even of those not run; sentences may omit arguments."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if block.title and block.language != "sh":
            file = tmp_path / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    text = (GUIDE / page).read_text(encoding="utf-8").replace("\\\n", " ")
    for file in re.findall(r"\b[\w.-]+\.(?:pth|whl|yaml)\b", text):
        (tmp_path / file).touch()
    for line in re.findall(r"^kdbench .+$", text, re.M):
        understand(shlex.split(line.partition(" > ")[0])[1:])
    for line in re.findall(r"`(kdbench [^`\n]+)`", text):
        with contextlib.suppress(click.MissingParameter):
            understand(shlex.split(line.partition(" > ")[0])[1:])


def test_a_command_that_is_not_understood_is_found():
    with pytest.raises(click.UsageError, match="--colour"):
        understand(["run", "--colour"])
    with pytest.raises((click.UsageError, UserError)):
        understand(["data", "forget", "digits"])


def understand(words, group=cli, parent=None):
    """Let click parse a command without running it, after removing the options of the group."""
    words = list(itertools.dropwhile(lambda word: word.startswith("-"), words))
    if not words:
        return
    name, command, rest = group.resolve_command(click.Context(group, info_name="kdbench"), words)
    if isinstance(command, click.Group):
        understand(rest, command, click.Context(command, info_name=name))
    else:
        command.make_context(name, rest, parent)
