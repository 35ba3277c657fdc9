import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from kdbench import devices
from kdbench.dataset_cards import Dataset, Split
from kdbench.errors import UserError
from kdbench.offers import Offer, Plugin
from kdbench.openmmlab import environment, ops, setup
from kdbench.openmmlab.setup import Problem, prepare_libraries
from kdbench.plugins import Registry

ONEDL = {name: [distribution] for name, distribution in setup.ONEDL.items()}
UPSTREAM = {"mmcv": ["mmcv"], "mmengine": ["mmengine"], "mmdet": ["mmdet"], "mmseg": ["mmsegmentation"]}
SWAP = r"pip uninstall -y mmcv mmdet mmengine mmsegmentation && pip install .*onedl-mmcv"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An installation whose plugins give one method, dataset and pair, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(environment.DATA_ROOT, raising=False)
    plugin = Plugin("papers", "papers", "kdbench", "1.0")
    names = Split("names.txt", "images", "annotations")
    card = Dataset(
        "toy",
        "",
        "detection",
        ("a",),
        "AP50",
        {"train": (names,), "test": (names,)},
        ".png",
        "toy:prepare",
        "toy",
        "",
        "",
        "",
    )
    offers = {"m": Offer(object(), plugin)}
    found = Registry((plugin,), offers, {"toy": Offer(card, plugin)}, offers, {})
    monkeypatch.setattr(environment, "registry", lambda: found)
    return found


def raising(error):
    def function(*_, **__):
        raise error

    return function


def broken(monkeypatch, module, error):
    """Let the import of one module fail."""
    real = setup.importlib.import_module
    monkeypatch.setattr(
        setup,
        "importlib",
        SimpleNamespace(import_module=lambda name: raising(error)() if name == module else real(name)),
    )


def installed(monkeypatch, packages):
    monkeypatch.setattr(setup, "distributions", lambda: packages)
    monkeypatch.setattr(environment, "distributions", lambda: packages)


def test_this_installation_works(here):
    seen = environment.inspect()
    assert seen.works, seen.problems
    assert seen.torch == torch.__version__
    assert seen.accelerator == devices.accelerator()
    assert seen.torchvision_loads
    assert seen.ops == ops.install()
    assert [library.name for library in seen.libraries] == ["mmcv", "mmengine", "mmdet", "mmseg"]
    assert all(library.version and len(library.distributions) == 1 for library in seen.libraries)
    assert json.loads(json.dumps(seen.as_dict()))["works"] is True


def test_cuda_mps_runs_where_its_daemon_listens(here, monkeypatch, tmp_path):
    assert (environment.inspect().cuda_mps is None) == (not torch.cuda.is_available())
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert not environment.cuda_mps_runs()
    (tmp_path / "control").touch()
    assert environment.cuda_mps_runs()


def test_mixed_distributions_are_not_imported(here, monkeypatch):
    installed(monkeypatch, ONEDL | {"mmdet": ["mmdet"]})
    monkeypatch.setattr(environment, "library_problem", raising(AssertionError("imported")))
    seen = environment.inspect()
    assert not seen.works
    assert "mmdet, onedl-mmcv, onedl-mmengine, onedl-mmsegmentation" in seen.problems[0].what
    assert seen.problems[0].fix.startswith("pip uninstall -y mmdet onedl-mmcv ")
    assert "onedl-mmdetection<3.6,>=3.5.1" in seen.problems[0].fix


def test_two_distributions_of_one_package_are_a_mixture():
    assert environment.mixture_problem(ONEDL) is None
    assert environment.mixture_problem(UPSTREAM) is None
    assert environment.mixture_problem(UPSTREAM | {"mmcv": ["mmcv", "mmcv-lite"]}) is not None
    assert environment.mixture_problem(ONEDL | {"mmcv": ["mmcv", "onedl-mmcv"]}) is not None
    assert environment.mixture_problem({name: [] for name in ONEDL}) is None


def test_the_version_assertion_of_upstream_is_a_problem(monkeypatch):
    installed(monkeypatch, UPSTREAM)
    broken(monkeypatch, "mmdet.utils", AssertionError("MMCV==2.2.0 is used but incompatible. Please ..."))
    problem = setup.library_problem("mmdet")
    assert "mmdet does not import: MMCV==2.2.0 is used but incompatible" in problem.what
    with pytest.raises(UserError, match=SWAP):
        prepare_libraries("mmdet")


@pytest.mark.parametrize(
    ("error", "what", "fix"),
    [
        (
            ModuleNotFoundError("", name="mmdet"),
            "mmdet is not installed",
            "pip install 'onedl-mmdetection<3.6",
        ),
        (
            ModuleNotFoundError("No module named 'x'", name="x"),
            "No module named 'x'",
            "pip install 'onedl-mmdet",
        ),
        (ImportError("libGL.so.1: cannot open shared object file"), "libGL", "opencv-python-headless"),
        (
            ImportError("_x.so: undefined symbol"),
            "undefined symbol",
            "--force-reinstall --no-deps 'onedl-mmdet",
        ),
    ],
)
def test_a_library_that_does_not_import(monkeypatch, error, what, fix):
    installed(monkeypatch, ONEDL)
    broken(monkeypatch, "mmdet.utils", error)
    problem = setup.library_problem("mmdet")
    assert what in problem.what
    assert fix in problem.fix


def test_torchvision_for_another_torch(here, monkeypatch):
    error = RuntimeError("operator torchvision::nms does not exist\nmore")
    broken(monkeypatch, "torchvision", error)
    monkeypatch.setattr(torch, "__version__", "2.15.0+cpu")
    seen = environment.inspect()
    assert not seen.works
    assert not seen.torchvision_loads
    assert "torch 2.15.0+cpu and torchvision" in seen.problems[0].what
    assert seen.problems[0].what.endswith("operator torchvision::nms does not exist")
    assert "pip install --force-reinstall torch==2.15.0 torchvision --index-url" in seen.problems[0].fix
    assert seen.problems[0].fix.endswith("/whl/cpu")
    with pytest.raises(UserError, match=r"do not fit together.*/whl/cpu$"):
        prepare_libraries("mmseg")


def test_torchvision_without_its_ops(monkeypatch):
    monkeypatch.setattr(torch.ops.torchvision, "nms", raising(RuntimeError("no kernel")), raising=False)
    assert "do not fit together: no kernel" in setup.torchvision_problem().what


@pytest.mark.parametrize(
    ("version", "cuda", "variant"),
    [("2.15.0", "13.2", "cu132"), ("2.15.0", None, "cpu"), ("2.15.0+rocm7", None, "rocm7")],
)
def test_the_pair_comes_from_the_index_of_torch(monkeypatch, version, cuda, variant):
    broken(monkeypatch, "torchvision", ModuleNotFoundError("no", name="torchvision"))
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    problem = setup.torchvision_problem()
    assert problem.what == "torchvision is not installed"
    assert problem.fix.endswith(f"/whl/{variant}")


def test_no_torch(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    seen = environment.inspect()
    assert seen.torch is None
    assert [problem.fix for problem in seen.problems] == ["pip install torch torchvision"]


def test_compiled_ops_without_cuda_on_a_gpu(monkeypatch):
    fake = ModuleType("mmcv.ops")
    fake.get_compiling_cuda_version = lambda: "not available"
    monkeypatch.setitem(sys.modules, "mmcv.ops", fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "without CUDA" in setup._cuda_problem().what
    fake.get_compiling_cuda_version = lambda: "13.2"
    assert setup._cuda_problem() is None


def test_compiled_ops_that_do_not_load_are_a_warning(here, monkeypatch):
    monkeypatch.setattr(environment, "library_problems", lambda _: [])
    monkeypatch.setattr(ops, "failure", lambda: "undefined symbol")
    seen = environment.inspect()
    assert seen.works
    assert "undefined symbol" in seen.warnings[0]


def test_a_broken_plugin_is_a_warning(here, monkeypatch):
    theirs = Plugin("main", "theirs", "their-kd", "1.0", error="ImportError: nothing")
    registry = Registry((*here.plugins, theirs), here.methods, here.datasets, here.pairs, {})
    monkeypatch.setattr(environment, "registry", lambda: registry)
    monkeypatch.setattr(environment, "library_problems", lambda _: [])
    seen = environment.inspect()
    assert seen.works
    assert "their-kd" in seen.warnings[0]
    assert seen.plugins[1]["error"] == "ImportError: nothing"


def test_nothing_to_run_is_a_problem(here, monkeypatch):
    registry = Registry(here.plugins, {}, here.datasets, here.pairs, {})
    monkeypatch.setenv("KDBENCH_PLUGINS", "theirs")
    [problem] = environment.registry_problems(registry)
    assert problem == Problem("no plugin gives any methods", "unset KDBENCH_PLUGINS")
    monkeypatch.delenv("KDBENCH_PLUGINS")
    assert "pip install" in environment.registry_problems(registry)[0].fix


def test_data_roots(here, monkeypatch, tmp_path):
    assert environment.data_state(here).datasets == {"toy": "absent"}
    toy = tmp_path / "data" / "toy"
    toy.mkdir(parents=True)
    (toy / "names.txt").write_text("one\n")
    assert environment.data_state(here).datasets == {"toy": "incomplete"}
    for path in (toy / "images" / "one.png", toy / "annotations" / "one.xml"):
        path.parent.mkdir()
        path.touch()
    assert environment.data_state(here) == environment.DataRoot("data", {"toy": "ready"})
    monkeypatch.setenv(environment.DATA_ROOT, str(tmp_path / "elsewhere"))
    assert environment.data_state(here).datasets == {"toy": "absent"}


def test_a_full_disk_is_a_problem(here, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    problems = environment.disk_problems([environment.disk("data", Path("no") / "where")])
    assert "3 MB free for data" in problems[0].what
    assert problems[0].fix.startswith("export KDBENCH_DATA=DIR")


def test_an_unknown_library():
    with pytest.raises(UserError, match="unknown library 'mmrazor'"):
        prepare_libraries("mmrazor")


def test_both_libraries_in_one_process(capfd):
    prepare_libraries("mmdet")
    prepare_libraries("mmseg")
    from mmdet.registry import MODELS as DETECTION
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS as SEGMENTATION

    for scope, registry in (("mmdet", DETECTION), ("mmseg", SEGMENTATION), ("mmdet", DETECTION)):
        with DefaultScope.overwrite_default_scope(scope):
            layer = registry.build({"type": "CrossEntropyLoss"})
        assert type(layer).__module__.startswith(f"{scope}.")
    assert capfd.readouterr() == ("", "")
