"""A student that starts from its teacher's weights, but for the backbone's."""

from __future__ import annotations

from dataclasses import replace

import torch


def test_weights_of_one_name_and_shape_are_the_teachers(bench, tmp_path):
    teacher, student = bench.subject("gfl", "teacher", seed=7), bench.subject("gfl")
    file = tmp_path / "teacher.pth"
    taught, own = teacher.build().state_dict(), student.build().state_dict()
    short = "bbox_head.gfl_reg.bias"
    torch.save({"state_dict": {name: value for name, value in taught.items() if name != short}}, file)
    heir = replace(student, inherits=(teacher, file))
    started = heir.build().state_dict()
    taken = {
        name
        for name, value in taught.items()
        if not name.startswith("backbone") and value.shape == own[name].shape and name != short
    }
    assert any(name.startswith("bbox_head") for name in taken)
    for name, value in started.items():
        assert torch.equal(value, taught[name] if name in taken else own[name]), name
    (note,) = (note for note in heir.notes() if "but for the backbone" in note)
    counts = [
        sum(name.startswith(part) for name in names)
        for part in ("neck", "bbox_head")
        for names in (taken, own)
    ]
    assert note == (
        "starts from the teacher's weights but for the backbone: neck {} of {} tensors, bbox_head {} of {} tensors"
    ).format(*counts)
