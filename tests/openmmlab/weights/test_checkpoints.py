from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import PosixPath

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from kdbench.errors import UserError
from kdbench.openmmlab.weights.checkpoints import load_weights, weights_hash


def small(seed=0, width=8):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def same(first, second):
    a, b = first.state_dict(), second.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def prefixed(model, prefix, **more):
    return {f"{prefix}{name}": value for name, value in model.state_dict().items()} | more


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.pth"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: model.state_dict(),
        lambda model: {"state_dict": model.state_dict(), "meta": {"epoch": 3}},
        lambda model: {"state_dict": prefixed(model, "module.")},
        lambda model: {"state_dict": prefixed(model, "student.", **{"method.conv.weight": torch.ones(3)})},
        lambda model: {
            "state_dict": prefixed(model, "module.student.", **{"module.method.w": torch.ones(3)})
        },
        lambda model: {"state_dict": prefixed(model, "module._orig_mod.")},
        lambda model: {"state_dict": prefixed(model, "architecture.") | prefixed(model, "teacher.")},
        lambda model: {
            "model": model.state_dict(),
            "args": Namespace(lr=0.1, out=PosixPath("x")),
            "epoch": 3,
        },
        lambda model: {"network": prefixed(model, "net.core."), "network_ema": prefixed(small(5), "")},
        lambda model: {"ema_state_dict": prefixed(model, "module.", steps=torch.tensor(1))},
    ],
    ids=[
        "bare",
        "state_dict",
        "module",
        "student",
        "module.student",
        "compiled",
        "equal",
        "model",
        "network",
        "ema",
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_every_form_is_loaded_whole(file, wrap, zipped):
    trained, fresh = small(1), small(2)
    torch.save(wrap(trained), file, _use_new_zipfile_serialization=zipped)
    assert not same(trained, fresh)
    assert load_weights(fresh, file) == {}
    assert same(trained, fresh)


def safetensors(state, cut=0):
    """The file that the library of that name writes, by its description."""
    table, parts, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, value in state.items():
        part = value.numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[value.dtype]
        table[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [at, at + len(part)]}
        parts, at = [*parts, part], at + len(part)
    head = json.dumps(table).encode()
    return b"".join([struct.pack("<Q", len(head)), head, *parts])[: -cut or None]


def test_safetensors_are_read(file):
    trained, fresh = small(1), small(2)
    file.write_bytes(safetensors(prefixed(trained, "model.")))
    assert load_weights(fresh, file) == {}
    assert same(trained, fresh)


@pytest.mark.parametrize("cut", [1, 200])
def test_cut_safetensors(file, cut):
    file.write_bytes(safetensors(small().state_dict(), cut))
    assert "truncated or no checkpoint" in refused(small(), file)


def test_two_models_that_fit_are_not_chosen_from(file):
    torch.save({"state_dict": prefixed(small(1), "student.") | prefixed(small(2), "teacher.")}, file)
    assert "several models that fit, under 'student.' and 'teacher.'" in refused(small(), file)
    torch.save({"state_dict": prefixed(small(1), "student.") | prefixed(small(2, width=9), "teacher.")}, file)
    fresh = small(3)
    assert load_weights(fresh, file) == {}
    assert same(fresh, small(1))


def test_what_does_not_fit_stays_and_is_named(file):
    trained, fresh = small(1), small(2)
    state = trained.state_dict()
    state["2.weight"] = torch.zeros(3, 8)
    for name in ("2.bias", "1.running_var", "1.num_batches_tracked"):
        del state[name]
    torch.save({"state_dict": state}, file)
    before = fresh[2].weight.clone()
    assert load_weights(fresh, file) == {
        "1.running_var": "not in the file",
        "2.weight": "3x8 in the file, 2x8 here",
        "2.bias": "not in the file",
    }
    assert torch.equal(fresh[2].weight, before)
    assert torch.equal(fresh[0].weight, trained[0].weight)


class Regressor(BaseModel):
    def __init__(self):
        super().__init__()
        self.lin, self.bn = nn.Linear(4, 2), nn.BatchNorm1d(2)

    def forward(self, inputs, mode="tensor"):
        output = self.bn(self.lin(inputs))
        return {"loss": output.square().mean() + output.sum()} if mode == "loss" else output


def test_what_mmengine_writes_with_averaged_weights(tmp_path):
    """Its checkpoint holds HistoryBuffers and numpy scalars; the averaged weights are in state_dict."""
    runner = Runner(
        model=Regressor(),
        work_dir=str(tmp_path),
        train_dataloader={
            "dataset": [{"inputs": torch.randn(4)} for _ in range(8)],
            "batch_size": 4,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "collate_fn": {"type": "default_collate"},
        },
        train_cfg={"by_epoch": False, "max_iters": 4},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.01, "update_buffers": True}],
        default_hooks={"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 4}},
        experiment_name="test_what_mmengine_writes_with_averaged_weights",
        log_level="ERROR",
    )
    runner.train()
    loaded = Regressor()
    assert load_weights(loaded, tmp_path / "iter_4.pth") == {}
    average = next(hook for hook in runner.hooks if type(hook).__name__ == "EMAHook").ema_model.module
    assert same(loaded, average)
    assert not same(loaded, runner.model)


def refused(model, file):
    """The message of the refusal, which is one line and leaves the model as it was."""
    before = weights_hash(model)
    with pytest.raises(UserError) as caught:
        load_weights(model, file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert weights_hash(model) == before
    return str(caught.value)


def test_no_such_file(tmp_path):
    assert "does not exist" in refused(small(), tmp_path / "absent.pth")
    assert "does not exist" in refused(small(), tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_truncated_file(file, part, zipped):
    torch.save(small().state_dict(), file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])
    assert "truncated or no checkpoint" in refused(small(), file)


@pytest.mark.parametrize("content", [b"", b"hello" * 100, b"<html>404</html>", b"\x80\x02}."])
def test_no_checkpoint(file, content):
    file.write_bytes(content)
    assert f"({len(content)} bytes) is truncated or no checkpoint" in refused(small(), file)


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, {"a": 1}, {"state_dict": 3}, torch.zeros(3)])
def test_no_weights(file, content):
    torch.save(content, file)
    assert "holds no weights" in refused(small(), file)


def test_a_file_without_weights_shows_its_keys(file):
    torch.save({"epoch": 3, "optimizer": {}}, file)
    assert "holds no weights (epoch, optimizer)" in refused(small(), file)


def test_another_architecture(file):
    torch.save(small(width=16).state_dict(), file)
    told = refused(small(), file)
    assert "another architecture: it fits 3% of the weights of Sequential" in told
    assert "names begin with 0.weight, 0.bias, 1.weight, the model's with 0.weight" in told


class Command:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_runs_a_command(file, tmp_path, zipped):
    mark = tmp_path / "executed"
    content = {"state_dict": small().state_dict(), "extra": Command(f"touch '{mark}'")}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    told = refused(small(), file)
    assert "would have to be executed (" in told
    assert "re-save it with only tensors" in told
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_model(file, zipped):
    torch.save(Regressor(), file, _use_new_zipfile_serialization=zipped)
    assert "Regressor)" in refused(small(), file)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def attribute(owner, name):
    return b"c__builtin__\ngetattr\n(" + owner + text(name) + b"tR"


def climbing(code):
    """A pickle that runs code although it names only what mmengine's own list of safe globals allows.

    ``getattr.__self__`` is the module of builtins; a HistoryBuffer whose ``_statistics_methods.update`` is
    ``exec`` calls it when its state is set.
    """
    builtins = attribute(b"c__builtin__\ngetattr\n", "__self__")
    buffer = b"cmmengine.logging.history_buffer\nHistoryBuffer\n)\x81"
    runs = buffer + b"}" + text("update") + attribute(builtins, "exec") + b"sb"
    first = b"}" + text("_statistics_methods") + runs + b"s"
    first += text("_set_default_statistics") + attribute(builtins, "dict") + b"sb"
    second = b"}" + text("statistics_methods") + text(code) + b"sb"
    return b"\x80\x02" + buffer + first + second + b"."


def test_a_file_that_climbs_to_exec_through_getattr(file, monkeypatch):
    monkeypatch.delenv("KDBENCH_TEST_EXECUTED", raising=False)
    memory = io.BytesIO()
    torch.save({}, memory)
    with zipfile.ZipFile(memory) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            code = "import os; os.environ['KDBENCH_TEST_EXECUTED'] = '1'"
            target.writestr(name, climbing(code) if name.endswith("data.pkl") else source.read(name))
    assert "holds no weights" in refused(small(), file)
    assert "KDBENCH_TEST_EXECUTED" not in os.environ


def test_weights_hash_knows_names_types_shapes_and_values():
    def hashed(**values):
        model = nn.Module()
        for name, value in values.items():
            model.register_buffer(name, value)
        return weights_hash(model)

    base = torch.arange(6.0)
    variants = [
        {"a": base},
        {"b": base},
        {"a": base.double()},
        {"a": base.bfloat16()},
        {"a": base.view(2, 3)},
        {"a": base + 1},
        {"a": base, "b": torch.tensor(1)},
        {"a": base[:0]},
        {},
    ]
    assert len({hashed(**variant) for variant in variants}) == len(variants)
    assert hashed(a=base, b=base + 1) == hashed(b=base + 1, a=base)
    assert hashed(a=base.view(2, 3).t().contiguous().t()) == hashed(a=base.view(2, 3))


def test_weights_hash_by_an_independent_derivation():
    import hashlib

    model = nn.Linear(2, 1)
    expected = b"".join(
        f"{name}\0torch.float32\0{shape}\0".encode() + struct.pack(f"<{len(values)}f", *values)
        for name, shape, values in (
            ("bias", "(1,)", model.bias.tolist()),
            ("weight", "(1, 2)", model.weight.flatten().tolist()),
        )
    )
    assert weights_hash(model) == hashlib.sha256(expected).hexdigest()


def test_names_that_only_look_prefixed_stay(file):
    model = nn.ModuleDict({"students": nn.Linear(2, 2)})
    torch.save(OrderedDict(model.state_dict()), file)
    assert load_weights(nn.ModuleDict({"students": nn.Linear(2, 2)}), file) == {}
