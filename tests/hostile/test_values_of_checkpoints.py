"""Checkpoints whose names and shapes fit, and whose values cannot be a model's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdbench.errors import UserError
from kdbench.openmmlab.weights.checkpoints import load_weights

DENSE = "0.weight is sparse, quantized or without values: save dense tensors of floats"


def spoiled(weight, how):
    return {
        "nan": lambda: weight.clone().fill_diagonal_(float("nan")),
        "inf": lambda: weight.clone().fill_diagonal_(float("-inf")),
        "int8": lambda: weight.to(torch.int8),
        "bool": lambda: weight.bool(),
        "complex": lambda: weight.to(torch.complex64),
        "sparse": lambda: weight.to_sparse(),
        "quantized": lambda: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
        "meta": lambda: weight.to("meta"),
    }[how]()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("nan", "0.weight has values that are not finite"),
        ("inf", "0.weight has values that are not finite"),
        ("int8", "0.weight has values of torch.int8: save floats"),
        ("bool", "0.weight has values of torch.bool: save floats"),
        ("complex", "0.weight has values of torch.complex64: save floats"),
        ("sparse", DENSE),
        ("quantized", DENSE),
        ("meta", DENSE),
    ],
)
def test_they_are_refused_by_the_name_of_the_weight(tmp_path, how, told):
    model, file = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), tmp_path / "weights.pth"
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save({"state_dict": {**state, "0.weight": spoiled(state["0.weight"], how)}}, file)
    with pytest.raises(UserError) as refused:
        load_weights(model, file)
    assert str(refused.value) == f"checkpoint {file} cannot be used: {told}."
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_another_precision_are_taken(tmp_path, kind):
    model, file = nn.Linear(4, 8), tmp_path / "weights.pth"
    state = {name: value.to(kind) for name, value in model.state_dict().items()}
    torch.save(state, file)
    assert not load_weights(model, file)
    assert torch.equal(model.weight, state["weight"].float())


@pytest.mark.parametrize("name", ["\x1b[2J", "\u202e", "x" * 5000])
def test_names_of_a_file_are_shown_printable_and_cut(tmp_path, name):
    model, file = nn.Linear(4, 8), tmp_path / "weights.pth"
    torch.save({f"{name}{one}?": value for one, value in model.state_dict().items()}, file)
    with pytest.raises(UserError, match="is of another architecture") as refused:
        load_weights(model, file)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500 + len(str(file))
