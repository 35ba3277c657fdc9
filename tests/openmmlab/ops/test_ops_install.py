import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest

from kdbench.openmmlab import ops
from kdbench.openmmlab.ops.extension import SUPPORTED, StandIn

FRESH = """
import sys
from kdbench.openmmlab import ops
assert ops.in_use() is None
used = ops.install()
assert "mmcv.ops" not in sys.modules
import mmcv.ops
assert ops.install() == ops.in_use() == used
from mmcv.utils import collect_env
print(used, mmcv.ops.get_compiler_version())
"""


def test_a_fresh_process_imports_every_op():
    result = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0] in ("mmcv", "torchvision")


def test_install_is_idempotent():
    first = ops.install()
    module = sys.modules[ops.EXTENSION]
    assert ops.install() == first
    assert sys.modules[ops.EXTENSION] is module
    assert find_spec(ops.EXTENSION) is not None


def test_the_compiled_extension_comes_first(monkeypatch):
    compiled = ModuleType(ops.EXTENSION)
    monkeypatch.delitem(sys.modules, ops.EXTENSION, raising=False)
    importing(monkeypatch, lambda: compiled)
    assert ops.install() == "mmcv"
    assert sys.modules[ops.EXTENSION] is compiled
    assert ops.failure() is None


def test_a_compiled_extension_that_does_not_load_is_told(monkeypatch):
    monkeypatch.delitem(sys.modules, ops.EXTENSION, raising=False)
    importing(monkeypatch, lambda: raise_(ImportError("_ext.so: undefined symbol: _ZN2at\nmore")))
    assert ops.install() == "torchvision"
    assert ops.failure() == "_ext.so: undefined symbol: _ZN2at"


def test_no_compiled_extension_is_no_failure(monkeypatch):
    monkeypatch.delitem(sys.modules, ops.EXTENSION, raising=False)
    importing(monkeypatch, lambda: raise_(ModuleNotFoundError("no", name=ops.EXTENSION)))
    assert ops.install() == "torchvision"
    assert ops.failure() is None


def test_an_unsupported_op_raises_only_when_it_is_called():
    op = StandIn(ops.EXTENSION).carafe_forward
    with pytest.raises(
        NotImplementedError, match=r"carafe_forward.*pip install --no-build-isolation.*onedl-mmcv"
    ):
        op(1, two=2)


def test_private_names_are_absent():
    module = StandIn(ops.EXTENSION)
    assert not hasattr(module, "__file__")
    assert not hasattr(module, "_private")
    assert module.nms is SUPPORTED["nms"]


def test_mmcvs_layers_of_unsupported_ops_can_be_built():
    if ops.install() == "mmcv":
        pytest.skip("mmcv's compiled ops are in use")
    import torch
    from mmcv.ops import CARAFEPack

    layer = CARAFEPack(4, 2)
    with pytest.raises(NotImplementedError, match="carafe"):
        layer(torch.rand(1, 4, 4, 4))


def importing(monkeypatch, extension):
    """Let the import of mmcv's extension do as told, and every other one as ever."""
    real = ops.importlib.import_module
    fake = ModuleType("importlib")
    fake.import_module = lambda name: extension() if name == ops.EXTENSION else real(name)
    monkeypatch.setattr(ops, "importlib", fake)


def raise_(error):
    raise error
