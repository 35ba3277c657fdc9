"""Imports of the light commands, the time of the help, and the import rules of the packages."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import kdbench
from kdbench.cli import COMMANDS

HEAVY = {"torch", "torchvision", "pandas", "numpy", "scipy", "sklearn", "cv2", "PIL", "matplotlib"}
MM = {"mmengine", "mmcv", "mmdet", "mmseg"}
NOT_FOR_HELP = HEAVY | MM | {"pydantic", "pluggy", "rich", "yaml"}

FLOORS = (
    {"guests", "text"},
    {"errors", "files", "threads", "mask_values", "strict_yaml"},
    {"specs", "devices", "surroundings"},
    {"cards", "metrics", "source"},
    {"dataset_cards"},
    {"hookspecs", "distill"},
    {"offers"},
    {"combined"},
    {"plugins"},
    {"selectors", "changes"},
    {"datasets", "pairs"},
    {"inline"},
    {"benchmarks"},
    {"reported"},
    {"results", "executors"},
    {"openmmlab"},
    {"runs"},
    {"tuning"},
    {"experiments", "findings"},
    {"kdbench", "api"},
    {"conformance"},
    {"cli"},
    {"__main__"},
)
"""The packages from the bottom up: a file imports from its own package and from lower levels."""

REFERENCE = re.compile(r":(?:mod|func|class|data|meth):`~?(kdbench(?:\.\w+)+)`")
"""A module, or a name in one, that a docstring refers to."""

LOADED = """
import json, sys
from kdbench.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def imported_by(*arguments: str) -> set[str]:
    """Return the top-level modules in ``sys.modules`` after a command, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []], ids=" ".join)
def test_the_shell_imports_click_alone(arguments):
    modules = imported_by(*arguments)
    assert "click" in modules
    assert not modules & NOT_FOR_HELP


def test_the_python_functions_import_nothing_before_they_are_called():
    code = "import sys, kdbench; kdbench.run, kdbench.sweep; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "kdbench" in done.stdout.split()
    assert not {name.partition(".")[0] for name in done.stdout.split()} & (NOT_FOR_HELP | {"click"})


@pytest.mark.parametrize("kind", ["methods", "datasets", "pairs", "plugins"])
def test_list_imports_nothing_heavy(kind):
    assert not imported_by("list", kind) & (HEAVY | MM)
    assert not imported_by("list", kind, "--json") & (HEAVY | MM)


@pytest.mark.parametrize("name", ["mimic", "digits"])
def test_show_imports_nothing_heavy(name):
    assert not imported_by("show", name) & (HEAVY | MM)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_imports_nothing_heavy(name):
    assert not imported_by(name, "--help") & (HEAVY | MM)


def test_importtime_of_the_help_shows_nothing_heavy():
    command = [sys.executable, "-X", "importtime", "-m", "kdbench", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in modules
    assert not modules & NOT_FOR_HELP


def seconds(*arguments: str) -> float:
    """Return the wall-clock time of one run of Python."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True, env=environment)
    return time.perf_counter() - start


def test_the_help_takes_at_most_three_times_the_import_of_click():
    """Compare the minimum of interleaved runs, so that other load on the machine affects both alike."""
    help_, click_ = [], []
    for _ in range(30):
        help_.append(seconds("-m", "kdbench", "--help"))
        click_.append(seconds("-c", "import click"))
        if len(help_) >= 5 and min(help_) <= 3 * min(click_):
            break
    assert min(help_) <= 3 * min(click_)


def test_the_plan_of_a_sweep_imports_neither_torch_nor_pandas(small_digits, tmp_path):
    asked = ("--methods", "mimic,hinton[temperature=1,2]", "--datasets", "digits", "--seeds", "0..1")
    where = ("--root", str(small_digits), "--results", str(tmp_path), "--work-dir", str(tmp_path / "runs"))
    loaded = imported_by("sweep", *asked, *where, "--device", "cpu", "--dry-run")
    assert not loaded & {"torch", "torchvision", "pandas", "mmcv", "mmdet", "mmseg"}
    assert not list(tmp_path.iterdir())


def test_the_official_evaluations_import_numpy_alone():
    names = "boxes, caltech, coco, kitti, segmentation, voc, widerface"
    code = f"import sys; from kdbench.metrics import {names}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & ((HEAVY | MM | {"pycocotools"}) - {"numpy"})


def test_openmmlab_is_imported_in_its_room_alone():
    package = Path(kdbench.__file__).parent
    code = {path.relative_to(package): path.read_text() for path in package.rglob("*.py")}
    found = {path for path, text in code.items() if imported(ast.parse(text)) & MM}
    assert found
    assert {path.parts[0] for path in found} == {"openmmlab"}


def imported(tree: ast.AST) -> set[str]:
    """Return the top-level names of the packages that a module imports anywhere."""
    return {name.partition(".")[0] for name, _ in imports(tree)}


def imports(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Yield a module's imports at run time, including those inside functions: modules and imported names."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield str(node.module), [alias.name for alias in node.names]
        yield from imports(node)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Return module of kdbench -> modules of kdbench that it imports."""
    root = Path(kdbench.__file__).parents[1]
    files = {module_name(path.relative_to(root)): path for path in (root / "kdbench").rglob("*.py")}
    return {name: edges(files[name].read_text(), set(files)) - {name} for name in files}


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def edges(code: str, known: set[str]) -> set[str]:
    """Return the modules among ``known`` that code imports, including ``from package import module``."""
    found = imports(ast.parse(code))
    reached = {f"{module}.{name}" for module, names in found for name in names or [""]}
    return {name if name in known else name.rpartition(".")[0] for name in reached} & known


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def arrows_up(graph: dict[str, set[str]]) -> list[str]:
    """Return the imports that the levels forbid."""
    floors = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    return [
        f"{source} -> {target}"
        for source, targets in graph.items()
        for target in targets
        if room_of(source) != room_of(target) and floors[room_of(source)] <= floors[room_of(target)]
    ]


def test_no_module_imports_itself_by_way_of_others(graph):
    assert len(graph) > 100
    TopologicalSorter(graph).prepare()  # raises CycleError with the cycle


def test_every_room_imports_from_lower_floors_alone(graph):
    assert arrows_up(graph) == []


def test_an_arrow_up_is_found_wherever_it_is_imported():
    known = {"kdbench.cards", "kdbench.plugins", "kdbench.specs"}
    code = "from kdbench.specs import Task\ndef f():\n    from kdbench import plugins\n"
    typed = "if TYPE_CHECKING:\n    import kdbench.plugins"
    assert edges(code, known) == {"kdbench.specs", "kdbench.plugins"}
    assert edges(typed, known) == set()
    assert arrows_up({"kdbench.cards": edges(code, known)}) == ["kdbench.cards -> kdbench.plugins"]


def test_references_in_docstrings_name_what_there_is():
    root = Path(kdbench.__file__).parents[1]
    files = {
        module_name(path.relative_to(root)): path.read_text() for path in (root / "kdbench").rglob("*.py")
    }
    named = {(name, found) for name, text in files.items() for found in REFERENCE.findall(text)}
    assert len(named) > 20
    assert [pair for pair in named if not exists(pair[1], files)] == []


def exists(reference: str, files: dict[str, str]) -> bool:
    """Whether a dotted name is a module, or a word in the file of the module that it begins with."""
    parts = reference.split(".")
    known = [at for at in range(len(parts), 0, -1) if ".".join(parts[:at]) in files]
    rest = parts[known[0] :]
    return not rest or re.search(rf"\b{rest[0]}\b", files[".".join(parts[: known[0]])]) is not None
