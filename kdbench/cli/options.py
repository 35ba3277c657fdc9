"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Command], Command]
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

dataset: Option[Any] = click.option(
    "--dataset", required=True, metavar="NAME", help="Dataset, see `kdbench list datasets`."
)
pair: Option[Any] = click.option(
    "--pair", metavar="NAME", help="Teacher-student pair; default: the dataset's first."
)
seed: Option[Any] = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
device: Option[Any] = click.option(
    "--device",
    metavar="NAME",
    help="cpu, or the type of torch's accelerator, such as cuda; default: that where there is one.",
)
amp: Option[Any] = click.option(
    "--amp",
    "precision",
    is_flag=False,
    flag_value="fp16",
    default="fp32",
    metavar="[fp16|bf16]",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    help="Mixed precision: float16 (a GPU), or bfloat16 (any device).",
)
download: Option[Any] = click.option(
    "--download", is_flag=True, help="Fetch initial weights and checkpoints that are not on this machine."
)
CHECKPOINT = "FILE|URL|mmdet::NAME|mmseg::NAME"
"""What :func:`kdbench.openmmlab.weights.zoo.checkpoint_file` takes."""
teacher_checkpoints: Option[Any] = click.option(
    "--teacher-checkpoint",
    "teacher_checkpoints",
    multiple=True,
    metavar=CHECKPOINT,
    help="Weights of the teacher, one for each of an ensemble: a file, an address, or a name in OpenMMLab's model "
    "zoos; without, it is trained once and kept.",
)
rerun: Option[Any] = click.option(
    "--rerun", is_flag=True, help="Run done cells again and replace their records."
)
rehash: Option[Any] = click.option(
    "--rehash", is_flag=True, help="Read every file of the data again, whatever the index of hashes says."
)
force: Option[Any] = click.option(
    "--force", is_flag=True, help="Go on although a gate failed; the record says so."
)
workers: Option[Any] = click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Data loading processes; default: 0 on a CPU; with a GPU one fewer than there are cores, at most 8.",
)
step_limit: Option[Any] = click.option(
    "--step-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Fail a run of which one iteration takes longer, such as a method that hangs; default: none.",
)
settings: Option[Any] = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change the pair: schedule.iterations=500, teacher_schedule.lr=0.01, student.backbone.depth=34; "
    "inherit=true starts the students from the teacher's neck and heads.",
)
root: Option[Any] = click.option(
    "--root", "data_root", type=FOLDER, help="Folder of all datasets; default: $KDBENCH_DATA, else data."
)


def schedule(help_text: str, default: str | None = "default") -> Option[Any]:
    """Return the option ``--schedule``."""
    choices = click.Choice(["default", "smoke"])
    return click.option(
        "--schedule", type=choices, default=default, show_default=default is not None, help=help_text
    )


def work_dir(help_text: str) -> Option[Any]:
    """Return the option ``--work-dir``, the folder of the runs."""
    return click.option(
        "--work-dir", type=FOLDER, default=Path("out/runs"), show_default=True, help=help_text
    )


def results(help_text: str) -> Option[Any]:
    """Return the option ``--results``, the folder of the records."""
    return click.option("--results", type=FOLDER, default=Path("results"), show_default=True, help=help_text)
