"""The docstring of every hook has an example that is a working plugin."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap

import pytest

from kdbench import hookspecs
from kdbench.cards import load_object
from kdbench.errors import UserError
from kdbench.offers import ENVIRONMENT, KINDS
from kdbench.plugins import registry

HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "kdbench_spec")]


def example(hook: str) -> str:
    """Return the code block of a hook's docstring with the plugin's module."""
    blocks = re.findall(r"```python\n(.*?)```", inspect.getdoc(getattr(hookspecs, hook)) or "", re.DOTALL)
    assert len(blocks) == 1, f"{hook} needs one example in its docstring, as a ```python block"
    return textwrap.dedent(blocks[0])


@pytest.fixture
def installed(add_plugin, monkeypatch):
    """Install a hook's example beside kdbench's own plugins, and return its offer."""

    def install(hook: str):
        add_plugin("my-package", example(hook), module="my_package")
        monkeypatch.setenv(ENVIRONMENT, "kdbench,my-package")
        registry.cache_clear()
        (plugin,) = [plugin for plugin in registry().plugins if plugin.distribution == "my-package"]
        assert (plugin.error, plugin.warnings) == (None, [])
        ((kind, (name,)),) = plugin.offers.items()
        assert KINDS[kind][0] == hook
        return getattr(registry(), f"{kind}s")[name].value

    return install


@pytest.mark.parametrize("hook", HOOKS)
def test_its_example_is_a_plugin_that_imports_the_public_api_alone(installed, hook):
    assert installed(hook).name
    imports = re.findall(r"^(?:from|import) (kdbench[\w.]*)", example(hook), re.MULTILINE)
    assert imports == ["kdbench.api"]
    exec(compile(example(hook), hook, "exec"), {"__name__": "my_package"})  # runs unchanged


def test_every_kind_has_a_hook():
    assert sorted(HOOKS) == sorted(hook for hook, _ in KINDS.values())
    assert len(HOOKS) >= 5


def test_a_method_has_its_options(installed):
    from kdbench.selectors import canonical, resolve

    card = installed("kdbench_methods")
    assert canonical(card, resolve(card, {"weight": "2"})) == "neck-l2[weight=2]"


def test_a_dataset_is_prepared_and_verified(installed, tmp_path):
    from PIL import Image

    from kdbench.datasets.locate import prepare
    from kdbench.datasets.verify import verify

    dataset = installed("kdbench_datasets")
    with pytest.raises(UserError, match="prepare screws --from DIR"):
        prepare(dataset, tmp_path / "data", None)
    source = tmp_path / "screws"
    for folder in ("ImageSets/Main", "JPEGImages", "Annotations"):
        (source / folder).mkdir(parents=True)
    for split in ("train", "test"):
        (source / f"ImageSets/Main/{split}.txt").write_text(f"{split}0\n")
        Image.new("RGB", (32, 24)).save(source / f"JPEGImages/{split}0.png")
        (source / f"Annotations/{split}0.xml").write_text(
            "<annotation><size><width>32</width><height>24</height><depth>3</depth></size><object>"
            "<name>bent</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
            "</object></annotation>"
        )
    folder = prepare(dataset, tmp_path / "data", source)
    assert verify(dataset, folder, pixels=True).errors == []


def test_a_pair_is_one_of_its_dataset(installed):
    pair = installed("kdbench_pairs")
    assert pair in registry().pairs_of("digits")
    assert registry().dataset(pair.dataset).value.task == pair.task


def test_an_executor_runs_a_worker(installed, tmp_path):
    from kdbench.executors.select import executor_of

    installed("kdbench_executors")
    executor = executor_of("in-turn", None, None)
    log = tmp_path / "worker.log"
    handle = executor.submit([sys.executable, "-c", "print('hello'); exit(3)"], executor.resources, log)
    (ended,) = executor.wait(1.0)
    assert (ended.handle, ended.code, ended.how) == (handle, 3, "exit code 3")
    assert executor.wait(0.0) == []
    assert log.read_text() == "hello\n"
    executor.cancel(handle, now=True)
    executor.close()


def test_a_metric_is_computed_from_a_record_s_metrics(installed):
    function = load_object(installed("kdbench_metrics").function)
    assert function({"AP50": 0.5, "AP50/ok": 0.75, "AP50/bent": 0.25}) == 0.25
    assert function({"mIoU": 0.5}) is None
