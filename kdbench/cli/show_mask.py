"""``kdbench show-mask``: a picture of what a method attends to in an image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.cli import options
from kdbench.cli.screen import echo
from kdbench.errors import UserError
from kdbench.files import write_atomically

if TYPE_CHECKING:
    from PIL import Image

    from kdbench.openmmlab.attention import RunModel
    from kdbench.runs.plan import Plan


@click.command("show-mask")
@click.argument("method", metavar="NAME[opt=value,...]")
@options.dataset
@options.pair
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="train", show_default=True)
@click.option("--index", type=click.IntRange(min=0), default=0, show_default=True, help="Image of the split.")
@options.seed
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("mask.png"),
    show_default=True,
    help="File to write, *.png.",
)
@options.device
@options.root
@options.work_dir("Folder of the runs; their trained models are used if there are any.")
def command(**values: Any) -> None:
    """Draw an image, its ground truth, and what a method attends to in it.

    Shown is what the method sees in a training step on the image, without augmentation.
    """
    from kdbench.devices import choose
    from kdbench.runs.launch import start
    from kdbench.runs.plan import plan
    from kdbench.runs.request import Request

    request = Request(
        method=values["method"],
        dataset=values["dataset"],
        pair=values["pair"],
        seed=values["seed"],
        device=choose(values["device"]),
        data_root=values["data_root"],
    )
    planned = plan(request)
    output, split, index = values["output"], values["split"], values["index"]
    name = image_name(planned, split, index)
    check_attention(planned)
    check_output(output)
    device = start(planned.cell.device, planned.dataset)
    from kdbench.cli.panels import draw
    from kdbench.openmmlab.attention import attended
    from kdbench.runs.refusals import check_method

    models = models_of(planned, values["work_dir"])
    check_method(planned, models["student"].subject)
    seen = attended(planned.card, planned.options, models, planned.folder, split, index, device)
    where = f"{planned.dataset.name}, {split} image {index} ({name})"
    write(draw(seen, f"{planned.cell.selector} on {where}, {planned.cell.pair.name}"), output)
    echo(f"wrote {output}: {planned.cell.selector} on {where}")


def image_name(planned: Plan, split: str, index: int) -> str:
    """Return the name of an image. Raises UserError if the split or the image does not exist."""
    from kdbench.datasets.layout import items

    if split not in planned.dataset.splits:
        raise UserError(
            f"--split {split}: {planned.dataset.name} has {' and '.join(planned.dataset.splits)} only."
        )
    found = items(planned.dataset, split, planned.folder)
    if index >= len(found):
        raise UserError(
            f"--index {index}: the {split} split of {planned.dataset.name} has {len(found)} images, "
            f"0 to {len(found) - 1}."
        )
    return found[index].name


def check_output(output: Path) -> None:
    """Refuse an output that cannot be written, before anything is computed."""
    if output.suffix.lower() != ".png":
        raise UserError(f"--output {output} must end in .png.")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}.") from error
    if not os.access(output.parent, os.W_OK):
        raise UserError(f"cannot write {output}: its folder is write-protected.")


def check_attention(planned: Plan) -> None:
    """Refuse a method that defines no attention."""
    from kdbench.distill import Method
    from kdbench.plugins import load_method

    if load_method(planned.card).attention is Method.attention:
        raise UserError(
            f"method '{planned.card.name}' has no picture to show: it does not define attention()."
        )


def models_of(planned: Plan, work_dir: Path) -> Mapping[str, RunModel]:
    """Return student and teacher, with the weights of their runs if there are any."""
    from kdbench.openmmlab.attention import RunModel
    from kdbench.runs.cells import subject_of
    from kdbench.runs.settings import RunSettings

    settings = RunSettings(work_dir=work_dir)
    specs = {"student": planned.cell, "teacher": planned.staged or planned.teacher}
    return {
        role: RunModel(subject_of(spec, planned, settings), settings.weights(spec))
        for role, spec in specs.items()
        if spec is not None
    }


def write(picture: Image.Image, output: Path) -> None:
    """Write a PNG in one step. Raises UserError where that fails."""
    try:
        write_atomically(output, partial(picture.save, format="PNG"))
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}.") from error
