"""The plugin API is one light module with docstrings, and CHANGELOG.md records its changes."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import api_text
import lacking
import pytest

from kdbench import api, distill
from kdbench.cli.new_plugin import rendered, values_of
from kdbench.specs import TASKS

ROOT = Path(__file__).parents[1]
PLUGINS = ROOT / "plugins"
PACKAGES = {
    "kdbench_cwd": PLUGINS / "kdbench-cwd",
    "kdbench_pkd": PLUGINS / "kdbench-pkd",
    "kdbench_papers": PLUGINS / "kdbench_papers",
}
NOTE = re.compile(r"^- Plugin API `([0-9a-f]{12})`: \S", re.MULTILINE)


def current_section() -> str:
    """Return the first section of CHANGELOG.md: the unreleased changes, or the last release."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.split(r"^## ", text, flags=re.MULTILINE)[1]


def test_a_change_of_the_api_is_noted_in_the_changelog():
    committed, now = api_text.FILE.read_text(encoding="utf-8"), api_text.text()
    changes = [
        line
        for line in difflib.unified_diff(committed.splitlines(), now.splitlines(), lineterm="", n=0)
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    noted = NOTE.findall(current_section())
    assert (changes, noted) == ([], [api_text.digest()]), (
        "the plugin API has changed. Describe the change, and what plugin authors must do, in the first "
        f"section of CHANGELOG.md, in its line `- Plugin API `{api_text.digest()}`: ...`; then run "
        "`python tests/api_text.py`.\n" + "\n".join(changes)
    )


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_is_light_until_a_name_of_a_method_is_asked_for():
    heavy = "sorted({'torch', 'numpy', 'pandas', 'mmengine', 'mmcv', 'rich', 'click'} & set(sys.modules))"
    code = f"import sys, kdbench.api; print({heavy}); from kdbench.api import Method; print({heavy})"
    assert run(code).splitlines()[0] == "[]"
    assert "torch" in run(code).splitlines()[1]


def test_every_name_is_there():
    for name in api.__all__:
        assert getattr(api, name) is not None
    assert sorted(api.__all__) == dir(api)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        api.nothing  # noqa: B018


def test_it_has_all_that_methods_are_made_of():
    assert set(distill.__all__) <= set(api.__all__)


@pytest.mark.parametrize("name", api.__all__)
def test_functions_and_classes_have_docstrings(name):
    value = getattr(api, name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return
    assert inspect.getdoc(value), name
    for member, part in vars(value).items():
        if not member.startswith("_") and (
            inspect.isfunction(part) or isinstance(part, property | classmethod)
        ):
            assert inspect.getdoc(getattr(value, member)), f"{name}.{member}"


def imports(code):
    """Yield the modules of kdbench that code imports, and the imported names."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "kdbench":
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((n.name, []) for n in node.names if n.name.partition(".")[0] == "kdbench")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_papers_and_the_example_packages_import_nothing_else(package):
    files = sorted(PACKAGES[package].rglob("*.py"))
    assert len(files) >= 6
    the_api_alone(file.read_text(encoding="utf-8") for file in files)


def the_api_alone(codes):
    found = [pair for code in codes for pair in imports(code)]
    assert {module for module, _ in found} == {"kdbench.api"}
    assert {name for _, names in found for name in names} <= set(api.__all__)


@pytest.mark.parametrize("tasks", [TASKS, TASKS[:1], TASKS[1:]])
def test_a_new_plugin_imports_nothing_else(tasks):
    files = rendered(values_of("my-method", tasks))
    codes = [text for path, text in files.items() if path.endswith(".py")]
    assert len(codes) == 5
    the_api_alone(codes)


@pytest.mark.parametrize("page", ["docs/guide/method.md", "docs/guide/data.md"])
def test_nor_does_the_code_of_a_page(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    the_api_alone(re.findall(r"^```python.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def test_no_other_page_has_code_that_imports_kdbench():
    pages = [path for path in (ROOT / "docs" / "guide").rglob("*.md") if "generated" not in path.parts]
    having = {
        path.name for path in pages if re.search(r"^(from|import) kdbench", path.read_text(), re.MULTILINE)
    }
    assert having == {"method.md", "data.md", "python.md"}


@pytest.mark.parametrize(
    "code",
    [
        "from kdbench.plugins import registry",
        "import kdbench.api, kdbench.specs",
        "def f():\n    from kdbench import selectors",
        "from kdbench.api import registry",
    ],
)
def test_what_is_not_public_is_found(code):
    with pytest.raises(AssertionError):
        the_api_alone(["from kdbench.api import Method", code])


@pytest.mark.parametrize("package", PACKAGES)
def test_their_cards_are_light(package):
    lacking.extra(package, "the example packages are not installed")
    code = (
        f"import sys, {package}; cards = list({package}.kdbench_methods());"
        "[(card.published(), card.options()) for card in cards];"
        "print(len(cards), {'torch', 'numpy', 'pandas'} & set(sys.modules))"
    )
    count, _, heavy = run(code).partition(" ")
    assert int(count) >= 1
    assert heavy == "set()"
