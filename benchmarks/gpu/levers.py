"""Time a hand-written step of a plain student and the frozen teacher's forward with different settings.

    python benchmarks/gpu/measure.py --only levers

Only the model and the batch of the step are kdbench's, so the table shows which settings are worth adopting. If a
setting is not available, its row says why.
"""

from __future__ import annotations

import copy
import itertools
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from measuring import Bench, Times, options

HEADS = {"segmentation": "decode_head", "dense": "bbox_head", "two-stage": "rpn_head"}
BATCHES = 4
TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
Forward = Callable[[torch.Tensor], Any]


@dataclass(frozen=True)
class Setting:
    """Settings of a step.

    Attributes:
        name: Name of the row.
        precision: ``fp32``, or autocast's ``fp16`` or ``bf16``.
        benchmark: Whether cudnn searches for the fastest algorithms, which need not be deterministic.
        channels_last: Whether the model's weights and the images have this memory format.
        fused: Whether the optimizer uses one kernel per step.
        teacher: How the teacher runs: unchanged, compiled, or as a replayed CUDA graph.
    """

    name: str
    precision: str = "fp32"
    benchmark: bool = False
    channels_last: bool = False
    fused: bool = False
    teacher: str = "eager"


def settings() -> list[Setting]:
    """Return the rows of the table; the compiled teacher, which takes longest to prepare, is last."""
    rows = []
    for precision in ("fp32", "fp16", "bf16"):
        plain = Setting(f"{precision}, deterministic", precision)
        fast = replace(plain, name=f"{precision}, cudnn.benchmark", benchmark=True)
        rows += [plain, fast, replace(fast, name=f"{fast.name}, channels_last", channels_last=True)]
    fused = replace(rows[-1], name=f"{rows[-1].name}, fused optimizer", fused=True)
    graph = replace(fused, name=f"{fused.name}, CUDA graph of the teacher", teacher="graph")
    return [*rows, fused, graph, replace(fused, name=f"{fused.name}, compiled teacher", teacher="compiled")]


class Student:
    """A plain student that trains with a setting, at learning rate 0, so that every step is like the first."""

    def __init__(self, bench: Bench, setting: Setting) -> None:
        self.model = formatted(bench.student, setting).train()
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        fused = True if setting.fused else None
        self.optimizer = torch.optim.AdamW(self.parameters, lr=0.0, fused=fused)
        self.device, self.setting = bench.asked.device, setting
        self.scaler = torch.amp.GradScaler(self.device, enabled=setting.precision == "fp16")
        self.clip = bench.schedule.clip_norm or float("inf")

    def step(self, batch: Any) -> None:
        """Run one iteration on a batch of the loader."""
        data = self.model.data_preprocessor(batch, True)
        inputs = data["inputs"].contiguous(memory_format=layout(self.setting))
        with autocast(self.device, self.setting):
            losses = self.model(inputs, data["data_samples"], mode="loss")
            total, _ = self.model.parse_losses(losses)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def layout(setting: Setting) -> torch.memory_format:
    """Return the memory format of a setting."""
    return torch.channels_last if setting.channels_last else torch.contiguous_format


def formatted(model: Any, setting: Setting) -> Any:
    """Return the model with its weights in the memory format of a setting."""
    return model.to(memory_format=layout(setting))


def autocast(device: str, setting: Setting, cached: bool = True) -> torch.autocast:
    """Return the context of a setting's precision."""
    dtype = TYPES.get(setting.precision)
    return torch.autocast(device, dtype=dtype, enabled=dtype is not None, cache_enabled=cached)


def teacher_forward(bench: Bench, setting: Setting, inputs: torch.Tensor) -> Forward:
    """Return the teacher's forward through backbone, neck and head with a setting; ``inputs`` are an example."""
    model = formatted(bench.teacher.model, setting)
    head = getattr(model, HEADS[bench.family])

    def forward(images: torch.Tensor) -> Any:
        with torch.no_grad(), autocast(bench.asked.device, setting, cached=setting.teacher != "graph"):
            return head(model.extract_feat(images))

    if setting.teacher == "compiled":
        return torch.compile(forward)
    return graphed(forward, inputs) if setting.teacher == "graph" else forward


def graphed(forward: Forward, inputs: torch.Tensor) -> Forward:
    """Return a forward that replays a CUDA graph, for inputs of one shape."""
    static = inputs.clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            forward(static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = forward(static)

    def replay(images: torch.Tensor) -> Any:
        static.copy_(images)
        graph.replay()
        return outputs

    return replay


def timed(bench: Bench, work: Callable[[], Any]) -> float:
    """Return the median time of some work in ms, without the first rounds."""
    times = Times(bench.asked.device)
    for _ in range(bench.asked.warm + bench.asked.rounds):
        with times.timed():
            work()
    return 1e3 * statistics.median(times.wall[bench.asked.warm :])


def row(bench: Bench, batches: list[Any], setting: Setting) -> tuple[float, float]:
    """Return the times of the student's step and of the teacher's forward with a setting, in ms."""
    torch.backends.cudnn.deterministic = not setting.benchmark
    torch.backends.cudnn.benchmark = setting.benchmark
    inputs = bench.teacher.model.data_preprocessor(copy.deepcopy(batches[0]), True)["inputs"]
    inputs = inputs.contiguous(memory_format=layout(setting))
    forward = teacher_forward(bench, setting, inputs)
    teacher = timed(bench, lambda: forward(inputs))
    student, turns = Student(bench, setting), itertools.cycle(batches)
    return timed(bench, lambda: student.step(copy.deepcopy(next(turns)))), teacher


def main() -> int:
    """Print each row of the table as soon as it is measured; return 1 if a setting failed."""
    asked = options(__doc__, "fitnets").parse_args()
    bench = Bench(asked)
    bench.teacher.to(next(bench.student.parameters()).device)
    batches = list(itertools.islice(bench.loader(), BATCHES))
    print(f"{asked.pair}, batches of {bench.schedule.batch_size}, median of {asked.rounds} rounds\n")
    print("| setting | student's step, ms | teacher's forward, ms |\n|---|---|---|", flush=True)
    failed = 0
    for setting in settings():
        if asked.device == "cpu" and setting.teacher != "eager":
            print(f"| {setting.name} | | left out on a CPU |", flush=True)
            continue
        try:
            student, teacher = row(bench, batches, setting)
            print(f"| {setting.name} | {student:.1f} | {teacher:.1f} |", flush=True)
        except Exception as error:  # that a model or a machine does not support a setting is a result
            failed += 1
            print(f"| {setting.name} | | failed: {str(error).split(chr(10))[0]} |", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
