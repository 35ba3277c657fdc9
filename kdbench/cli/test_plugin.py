"""``kdbench test-plugin``: whether methods keep the promises of the contract."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from kdbench.cli.screen import echo

if TYPE_CHECKING:
    from kdbench.conformance.bench import Bench
    from kdbench.conformance.runner import PromiseResult
    from kdbench.conformance.target import Target


@click.command("test-plugin")
@click.argument("name", metavar="DISTRIBUTION|METHOD")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str, as_json: bool) -> int:
    """Hold a method, or every method of a distribution, to the contract.

    Trains small models on drawn scenes, some minutes a method on one core. Exits with 0 when every promise is
    kept, with 1 when one is broken.
    """
    from functools import cache

    from kdbench.conformance.report import as_dict, passed
    from kdbench.conformance.target import targets

    chosen = targets(name)
    bench = cache(_bench)
    found = [(target, _findings(target, bench)) for target in chosen]
    if as_json:
        echo(json.dumps([as_dict(target, findings) for target, findings in found], indent=2))
    else:
        _show(found)
    return 0 if all(passed(findings) for _, findings in found) else 1


def _bench() -> Bench:
    from kdbench.conformance.bench import Bench

    return Bench()


def _findings(target: Target, bench: object) -> list[PromiseResult]:
    """Look at each promise, telling on stderr which is next."""
    from kdbench.conformance.runner import Conformance

    findings = []
    for finding in Conformance(target, bench).findings():  # type: ignore[arg-type]
        echo(f"{target.name}: {finding.promise.name} {finding.state} ({finding.seconds:.1f} s)", err=True)
        findings.append(finding)
    return findings


def _show(found: list[tuple[Target, list[PromiseResult]]]) -> None:
    from rich.console import Console

    from kdbench.conformance.report import show

    console = Console(highlight=False)
    for target, findings in found:
        show(console, target, findings)
