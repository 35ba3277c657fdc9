"""Time of a distillation step over the bare bound: the teacher's forward and a plain student's step, by hand.

    python benchmarks/speed/step.py --pair digits-gfl --method fitnets --rounds 60

Both sides see the same batches, in one process, by turns. kdbench's side is its whole iteration, with mmengine's
runner, hooks, the method's losses and its adapters; loading the batch is on neither side. The bound has nothing of
a method: the teacher's needed part under no_grad, and the plain student's forward, backward, clipping and step.
Methods whose teacher looks at the student's RoIs have no such bound; take a dense detector, or a method on maps.
"""

from __future__ import annotations

import copy
import sys
from contextlib import nullcontext
from typing import Any

from measuring import Bench, Times, around, compare, options, tell_gpu, without_warm

LIMIT = 1.03
TEACHER_HEAD = frozenset({"logits", "head", "pixel_logits"})


class Bare:
    """The hand-written loop."""

    def __init__(self, bench: Bench) -> None:
        import torch

        schedule = bench.schedule
        self.student, self.teacher = copy.deepcopy(bench.student).train(), bench.teacher.model
        self.device, self.clip = bench.asked.device, schedule.clip_norm
        self.amp = bench.asked.amp
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.amp)
        kind = torch.optim.AdamW if schedule.optimizer == "AdamW" else torch.optim.SGD
        momentum = {} if schedule.optimizer == "AdamW" else {"momentum": 0.9}
        self.parameters = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = kind(self.parameters, lr=schedule.lr, weight_decay=schedule.weight_decay, **momentum)
        needed = bench.names & TEACHER_HEAD
        if bench.family == "two-stage" and needed:
            sys.exit("this method's teacher looks at the student's RoIs: there is no bare bound")
        self.head = None
        if needed:
            name = "decode_head" if bench.family == "segmentation" else "bbox_head"
            self.head = getattr(self.teacher, name)

    def step(self, batch: Any) -> None:
        """One iteration on a batch."""
        import torch

        data = self.student.data_preprocessor(batch, True)
        inputs, samples = data["inputs"], data["data_samples"]
        with torch.autocast(self.device) if self.amp else nullcontext():
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


def main() -> int:
    """Print the ratio; 1 where it is over the limit."""
    asked = options(__doc__, "fitnets").parse_args()
    bench = Bench(asked)
    bare, ours, theirs = Bare(bench), Times(asked.device), Times(asked.device)

    def other(iteration: int, batch: Any) -> None:
        own = copy.deepcopy(batch)
        with theirs.timed():
            bare.step(own)

    bench.teacher.to(next(bench.student.parameters()).device)
    bench.train(around(bench, ours, other))
    without_warm(asked, ours, theirs)
    within = compare(f"{asked.pair}, {asked.method}: step / bare bound", ours, theirs, LIMIT)
    tell_gpu(asked, bench.schedule.batch_size, ours.wall, bench.shares)
    return int(not within)


if __name__ == "__main__":
    sys.exit(main())
