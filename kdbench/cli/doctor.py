"""``kdbench doctor``: what is installed, what is wrong, and the command that mends it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from kdbench.cli.listing import counted
from kdbench.cli.screen import echo

if TYPE_CHECKING:
    from kdbench.openmmlab.environment import Environment


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Say what is installed, what is wrong and how to fix it.

    Exits with 0 only when a run would work, else with 1.
    """
    from kdbench.openmmlab.environment import inspect

    environment = inspect()
    if as_json:
        echo(json.dumps(environment.as_dict(), indent=2))
    else:
        show(environment)
    context.exit(0 if environment.works else 1)


def show(environment: Environment) -> None:
    """Print tables for humans, then the problems."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts(environment).items():
        table.add_row(escape(name), escape(text))
    console.print(table)
    for warning in environment.warnings:
        console.print("[yellow]warning:[/]", escape(warning))
    for problem in environment.problems:
        console.print("[bold red]problem:[/]", escape(problem.what))
        console.print("  [bold]fix it:[/]", escape(problem.fix))
    if environment.works:
        console.print("[green]A run would work here.[/]")


def facts(environment: Environment) -> dict[str, str]:
    """Return the text of each fact by its name, in the order they are shown."""
    loads = "" if environment.torchvision_loads else " (its ops do not load)"
    rows = {
        "python": f"{environment.python} on {environment.platform}",
        "torch": environment.torch or "not importable",
        "device": ", ".join(environment.devices) or "CPU only",
        **_mps(environment),
        "torchvision": f"{environment.torchvision or 'not installed'}{loads}",
    }
    for library in environment.libraries:
        origin = f" from {', '.join(library.distributions)}" if library.distributions else ""
        rows[library.name] = f"{library.version or 'not installed'}{origin}"
    rows["ops of mmcv"] = {"mmcv": "mmcv's own", "torchvision": "torchvision's"}.get(
        environment.ops or "", "none"
    )
    for plugin in environment.plugins:
        name = f"plugin {plugin['distribution']}:{plugin['name']}"
        rows[name] = plugin["error"] or f"{plugin['version']}, gives {_offers(plugin['offers'])}"
    states = [f"{name} {state}" for name, state in environment.data.datasets.items()]
    rows[f"data in {environment.data.path}"] = ", ".join(states) or "no dataset known"
    for disk in environment.disks:
        rows[f"disk for {disk.purpose}"] = f"{disk.free / 1e9:.1f} GB free"
    return rows


def _mps(environment: Environment) -> dict[str, str]:
    if environment.cuda_mps is None:
        return {}
    no = "does not run: workers on one GPU take turns (nvidia-cuda-mps-control -d starts it)"
    return {"CUDA MPS": "runs: workers on one GPU compute at once" if environment.cuda_mps else no}


def _offers(offers: dict[str, list[str]]) -> str:
    return ", ".join(counted(len(names), kind) for kind, names in offers.items()) or "nothing"
