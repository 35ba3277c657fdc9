"""Time of a distillation step relative to a hand-written bound: the teacher's forward and a plain student's step.

    python benchmarks/speed/step.py --pair digits-gfl --method fitnets --rounds 60

Both sides see the same batches in turns, each in its own process. kdbench's side is its whole iteration, with
mmengine's runner, hooks, the method's losses and its adapters; loading the batch is on neither side. The bound has
no distillation loss: it is the needed part of the teacher under no_grad, and the plain student's forward, backward,
clipping and step. It is timed without and, on a CPU, also with kdbench's setting of the allocator: the second ratio
is the cost of the method and the harness, the first is the difference that a user notices.
Methods whose teacher uses the student's RoIs have no such bound; use a dense detector, or a method on maps.
"""

from __future__ import annotations

import sys
from typing import Any

from measuring import Bench, options
from sides import against, by_turns, tell

LIMIT = 1.03
PIXELS = frozenset({"logits", "softmax_logits", "pixel_logits"})
"""Captures for which a segmentation teacher's head runs."""


def needs_head(family: str, names: frozenset[str]) -> bool | None:
    """Whether a method needs the teacher's head; None if that uses the student's RoIs (no bound)."""
    from kdbench.openmmlab.captures.families import AT_HEAD, AT_ROIS

    if family == "two-stage":
        return None if names & AT_ROIS else bool(names & {"rpn", "rpn_targets"})
    return bool(names & (PIXELS if family == "segmentation" else AT_HEAD))


class Bare:
    """The hand-written loop."""

    def __init__(self, bench: Bench) -> None:
        import torch

        schedule = bench.schedule
        self.student, self.teacher = bench.student.train(), bench.teacher.model
        self.device, self.clip = bench.asked.device, schedule.clip_norm
        self.dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(bench.asked.precision)
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.dtype is torch.float16)
        kind = torch.optim.AdamW if schedule.optimizer == "AdamW" else torch.optim.SGD
        momentum = {} if schedule.optimizer == "AdamW" else {"momentum": 0.9}
        self.parameters = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = kind(self.parameters, lr=schedule.lr, weight_decay=schedule.weight_decay, **momentum)
        needed = needs_head(bench.family, bench.names)
        if needed is None:
            sys.exit("this method's teacher looks at the student's RoIs: there is no bare bound")
        self.head = None
        if needed:
            heads = {"segmentation": "decode_head", "dense": "bbox_head", "two-stage": "rpn_head"}
            self.head = getattr(self.teacher, heads[bench.family])

    def step(self, batch: Any) -> float:
        """Run one iteration on a batch, and return the loss."""
        import torch

        data = self.student.data_preprocessor(batch, True)
        inputs, samples = data["inputs"], data["data_samples"]
        with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype is not None):
            with torch.no_grad():
                features = self.teacher.extract_feat(inputs)
                if self.head is not None:
                    self.head(features)
            losses = self.student(inputs, samples, mode="loss")
            total, _ = self.student.parse_losses(losses)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return float(total.detach())


def main() -> int:
    """Print the ratios; return 1 if that to the unchanged loop exceeds the limit."""
    parser = options(__doc__, "fitnets")
    parser.add_argument("--limit", type=float, default=LIMIT, help="largest ratio for exit code 0")
    asked = parser.parse_args()
    sides = against("by hand", Bare, asked.device)
    seen = by_turns(asked, sides)
    return int(not tell(asked, sides, seen, asked.limit))


if __name__ == "__main__":
    sys.exit(main())
