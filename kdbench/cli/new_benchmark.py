"""``kdbench new-benchmark``: a benchmark file for a folder of images and boxes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.cli import options
from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.datasets.recognize import Found, FoundSplit

METHODS = ["none", "hinton", "fitnets", "mimic"]
EPOCHS = 12
"""Times that a full-size student sees each image."""
LARGE, SMALL = (1333, 800), (256, 192)
"""Width and height that images are resized to, at most: on a GPU, and on a CPU."""

TEXT = """\
# {train} images to train on, {test} to judge by, {boxes} boxes of {classes} classes.
# `kdbench sweep {file}` runs it, `kdbench leaderboard {file}` ranks what is done.
title: {title}

# The paths are relative to this file.
dataset:
{dataset}
# {pair}. A teacher with a `checkpoint: FILE` is not trained.
# `schedule` is the student's recipe, and the teacher's too without a `teacher_schedule`.
pairs:
{pairs}
methods: {methods}
seeds: 0..2
"""


@click.command("new-benchmark")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The YAML file to write; its paths are relative to it.",
)
@options.device
def command(folder: Path, output: Path, device: str | None) -> None:
    """Look into FOLDER (a COCO json, or VOC layout) and write a benchmark file for it.

    The pair is small without a GPU, and fits the size of the images.
    """
    from kdbench.datasets.recognize import recognize
    from kdbench.devices import choose

    if output.exists():
        raise UserError(f"{output} already exists: name another file.")
    found = recognize(folder)
    try:
        output.write_text(text_of(found, output, small=choose(device) == "cpu"), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}.") from error
    for split, part in found.parts.items():
        click.echo(f"{split}: {part.count} images, {part.boxes} boxes ({found.format}, {part.annotations})")
    click.echo(f"Made {output}. Next:\n  kdbench sweep {output}\n  kdbench leaderboard {output}")


def text_of(found: Found, output: Path, *, small: bool) -> str:
    """Return the benchmark file of a dataset.

    Args:
        found: The dataset.
        output: Where the file will be.
        small: Whether its pair must train on a CPU.
    """
    name = "".join(letter if letter.isalnum() else "-" for letter in output.stem.lower()).strip("-") or "mine"
    kind = (
        "Narrow models that train from scratch in minutes on a CPU" if small else "Full-size models for a GPU"
    )
    pair = {"name": f"{name}-gfl", **(_small(found) if small else _full(found))}
    return TEXT.format(
        train=found.parts["train"].count,
        test=found.parts["test"].count,
        boxes=sum(part.boxes for part in found.parts.values()),
        classes=len(found.classes),
        file=output,
        title=name,
        pair=kind,
        dataset=_indented(_dataset(found, name, output.parent)),
        pairs=_indented([pair]),
        methods=f"[{', '.join(METHODS)}]",
    )


def _dataset(found: Found, name: str, folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = {"name": name, "format": found.format}
    values |= {split: _paths(part, folder) for split, part in found.parts.items()}
    if found.format == "voc":
        values |= {"classes": list(found.classes), "image_suffix": found.suffix}
    return values


def _paths(part: FoundSplit, folder: Path) -> dict[str, str]:
    paths = {"images": part.images, "annotations": part.annotations, "names": part.names}
    return {
        key: Path(os.path.relpath(path, folder)).as_posix() for key, path in paths.items() if path is not None
    }


def _small(found: Found) -> dict[str, Any]:
    """Return a narrow pair that trains from scratch in minutes on a CPU."""
    from kdbench.pairs.recipes import adamw
    from kdbench.pairs.small import gfl

    models = (gfl(18, 24, 48, first=0, norm="neck"), gfl(18, 8, 16, first=0, norm="neck"))
    recipe = adamw(400, 0.006, _scale(found, SMALL), 0.5)
    teacher, student = (model.model_dump(include={"config", "edits"}) for model in models)
    schedule = {**recipe.model_dump(mode="json", exclude_defaults=True), "keep_ratio": True}
    return {
        "teacher": teacher,
        "student": student,
        "schedule": schedule,
        "teacher_schedule": {**schedule, "iterations": 600},
    }


def _full(found: Found) -> dict[str, Any]:
    """Return a pair of full-size models that starts from ImageNet's weights."""
    from kdbench.pairs.gpu import RESNET18

    config = "mmdet::gfl/gfl_r50_fpn_1x_coco.py"
    iterations = max(2000, EPOCHS * found.parts["train"].count // 16)
    schedule = {"iterations": iterations, "batch_size": 16, "lr": 0.01, "warmup": 500, "flip": 0.5}
    return {
        "pretrained": True,
        "teacher": {"config": "mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py"},
        "student": {"config": config, "edits": RESNET18},
        "schedule": {**schedule, "scale": list(_scale(found, LARGE)), "keep_ratio": True},
    }


def _scale(found: Found, most: tuple[int, int]) -> tuple[int, int]:
    """Return the images' size, or the largest that fits into ``most`` on its side or upright."""
    width, height = found.size
    limits = most if width >= height else most[::-1]
    factor = min(1.0, limits[0] / width, limits[1] / height)
    return round(width * factor), round(height * factor)


def _indented(value: Any) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            """Write what stands in two places twice."""
            return True

    text = yaml.dump(
        value, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )
    return "".join(f"  {line}\n" for line in text.splitlines())
