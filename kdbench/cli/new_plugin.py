"""``kdbench new-plugin``: a small, complete package with a method, to begin with."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kdbench import __version__
from kdbench.cli.screen import echo
from kdbench.errors import UserError
from kdbench.specs import TASKS

TEMPLATES = Path(__file__).parents[1] / "templates" / "plugin"
SUFFIX = ".j2"
MODULE = "__module__"
"""Stands for the package's name in the templates' paths."""
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 30
PREFIX = "kdbench-"
DATASETS = {"detection": "digits", "segmentation": "digits-seg"}
"""Task -> the embedded dataset."""


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--task",
    type=click.Choice([*TASKS, "both"]),
    default="both",
    show_default=True,
    help="What the method distils.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where the package's folder is made; default: here.",
)
def command(name: str, task: str, directory: Path) -> None:
    """Make a package with the method NAME: card, losses, wiring, tests and CI; it runs as it is.

    NAME is lower case, with digits and single dashes: `my-method` becomes the folder kdbench-my-method.
    """
    check_name(name)
    folder = directory / f"{PREFIX}{name}"
    values = values_of(name, TASKS if task == "both" else (task,))
    make(folder, rendered(values))
    echo(f"Made {folder}. Next:")
    echo(f"  pip install -e {shlex.quote(str(folder))}")
    echo(f"  kdbench run --method {name} --dataset {values['datasets'][0]} --schedule smoke")
    echo(f"  kdbench test-plugin {name}")


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a new method.

    Raises:
        UserError: If it is no name, or a method or module has it.
    """
    from kdbench.plugins import registry

    if NAME.fullmatch(name) is None:
        raise UserError(
            f"'{name}' cannot be a method's name: use lower-case letters, digits and single dashes, a letter "
            "first, such as 'my-method'."
        )
    if len(name) > LONGEST:
        raise UserError(f"'{name}' is too long for a name: use at most {LONGEST} letters.")
    if name.startswith(PREFIX):
        raise UserError(f"leave '{PREFIX}' out: the package is named so by itself.")
    taken = registry().methods.get(name)
    if taken is not None:
        raise UserError(f"{taken.plugin.distribution} gives a method '{name}' already: choose another name.")
    if importlib.util.find_spec(module_of(name)) is not None:
        raise UserError(f"there is a module {module_of(name)} already: choose another name.")


def module_of(name: str) -> str:
    """Return the name of the package that is imported."""
    return f"{PREFIX}{name}".replace("-", "_")


def values_of(name: str, tasks: tuple[str, ...]) -> dict[str, Any]:
    """Return the values that the templates are filled with."""
    from datetime import date

    return {
        "name": name,
        "distribution": f"{PREFIX}{name}",
        "module": module_of(name),
        "title": "".join(part.capitalize() for part in name.split("-")),
        "tasks": tasks,
        "datasets": [DATASETS[task] for task in tasks],
        "year": date.today().year,
        "kdbench": __version__,
    }


def rendered(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the content of each file by its path in the package."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return {
        str(file.relative_to(TEMPLATES)).removesuffix(SUFFIX).replace(MODULE, values["module"]): (
            environment.from_string(file.read_text(encoding="utf-8")).render(values)
        )
        for file in sorted(TEMPLATES.rglob(f"*{SUFFIX}"))
    }


def make(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files into a new folder.

    Raises:
        UserError: If there is something at its place, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True)
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise UserError(
            f"{error.filename} already exists: move it away, or name another --directory."
        ) from None
    except OSError as error:
        raise UserError(f"cannot write {error.filename}: {error.strerror}.") from None
