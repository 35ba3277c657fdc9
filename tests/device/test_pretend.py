"""The simulated device: what it refuses like CUDA, what it allows, and what it counts."""

from __future__ import annotations

import json

import pytest
from children import finish, start

BEGINNING = """
import io, json
import torch
from torch import nn
from kdbench.conformance import pretend
pretend.install()
x = torch.arange(12.0, device="pretend").reshape(3, 4)
here = torch.arange(12.0).reshape(3, 4)
"""
BOTH = "Expected all tensors to be on the same device"
REFUSED = {
    "a misplaced adapter": ("nn.Linear(4, 2)(x)", BOTH),
    "an anchor grid": ("x + torch.arange(4.0)", BOTH),
    "a mask": ("x * (here > 3)", BOTH),
    "a constant with a dimension": ("x * torch.tensor([2.0])", BOTH),
    "a constant from numpy": ("x * torch.from_numpy(here.numpy())", BOTH),
    "an index on the device into a CPU tensor": ("here[(x > 3)]", "indices should be either on cpu"),
    "a CPU tensor that is written by index": ("here.index_put_((torch.tensor([0]),), x[:1])", BOTH),
    "a stacked number": ("torch.stack([x.sum(), torch.tensor(1.0)])", BOTH),
    "a loss against CPU targets": ("nn.functional.mse_loss(x, here)", BOTH),
    "a CPU's generator": ("torch.randperm(4, generator=torch.Generator(), device='pretend')", "generator"),
    "numpy": ("x.numpy()", "numpy"),
    "an unsafe loss in mixed precision": (
        "with torch.autocast('pretend'): nn.functional.binary_cross_entropy(x.sigmoid(), x)",
        "unsafe to autocast",
    ),
}
ALLOWED = {
    "a number without dimensions": "(x * torch.tensor(2.0)).tolist()[0][1] == 2.0",
    "an index of the CPU": "x[torch.tensor([1])].cpu().equal(here[1:2])",
    "copies": "x.cpu().equal(here) and here.to('pretend').cpu().equal(here)",
    "its name": "torch.accelerator.current_accelerator().type == 'pretend' and str(x.device) == 'pretend:0'",
    "a checkpoint": "loaded(x).device.type == 'pretend' and loaded(x, map_location='cpu').equal(here)",
    "half precision": "half(torch.float16) == ['float16', 'float32'] and half(torch.bfloat16)[0] == 'bfloat16'",
    "gradients in float32": "gradient().dtype == torch.float32 and gradient().device == x.device",
    "pinned memory": "pinned.is_pinned() and not here.is_pinned()",
}
COUNTED = {
    "x + x": (1, 0),
    "x.t()": (0, 0),
    "float((x + x)[0, 0])": (2, 1),
    "x[x > 3]": (2, 1),
    "here.to('pretend')": (1, 1),
    "pinned.to('pretend', non_blocking=True)": (1, 0),
    "x.tolist()": (0, 1),
}
SCRIPT = f"""{BEGINNING}
pinned = here.pin_memory()
def loaded(value, **options):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True, **options)
def half(dtype):
    with torch.autocast("pretend", dtype):
        product = x @ x.t()
        return [str(y.dtype).removeprefix("torch.") for y in (product, product.softmax(0))]
def gradient():
    layer = nn.Linear(4, 2).to("pretend")
    with torch.autocast("pretend", torch.bfloat16):
        layer(x).sum().backward()
    return layer.weight.grad
def refused(code):
    try:
        exec(code)
    except Exception as error:
        return str(error)
def counted(code):
    exec(code)
    with pretend.count() as seen:
        exec(code)
    return [seen.ops, seen.syncs]
print(json.dumps([
    {{what: refused(code) for what, (code, _) in {REFUSED!r}.items()}},
    {{what: bool(eval(code)) for what, code in {ALLOWED!r}.items()}},
    {{code: counted(code) for code in {list(COUNTED)!r}}},
]))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    log = tmp_path_factory.mktemp("pretend") / "log"
    return json.loads(finish(start(["-c", SCRIPT], log), log).splitlines()[-1])


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses(seen, what):
    assert REFUSED[what][1] in (seen[0][what] or "nothing was raised")


@pytest.mark.parametrize("what", ALLOWED)
def test_it_allows(seen, what):
    assert seen[1][what]


@pytest.mark.parametrize("code", COUNTED)
def test_it_counts_operators_and_waits(seen, code):
    assert seen[2][code] == list(COUNTED[code])
