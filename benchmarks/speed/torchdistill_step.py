"""Time of kdbench's distillation step relative to torchdistill's, for the same models, loss and batches.

    pip install torchdistill && python benchmarks/speed/torchdistill_step.py --pair digits-gfl --rounds 60

The loss is FitNets' joint hints: half the mean square between the teacher's neck and the student's after a 1x1
convolution, averaged over the levels. torchdistill's side is its DistillationBox, used as in its examples: hooks on
the necks, an auxiliary wrapper with the regressors, a WeightedSumLoss of MSELoss terms and the model's own losses,
its clipping, AdamW, its MetricLogger. In its favour, its teacher is set up to run no head, which kdbench does
automatically. It takes turns with kdbench, in its own process, without and, on a CPU, also with kdbench's setting
of the allocator. Both normalise the batch with the student's preprocessor; loading it is on neither side. They
start with equal weights, and the script ends with an error if their first losses differ.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from measuring import Bench, options
from sides import against, by_turns, tell
from torch import nn

LIMIT = 1.0


def register() -> None:
    """Register mmdet's and mmseg's models with torchdistill."""
    from torchdistill.core.interfaces.registry import register_forward_proc_func
    from torchdistill.losses.registry import register_func2extract_model_output
    from torchdistill.models.registry import register_auxiliary_model_wrapper
    from torchdistill.models.wrapper import AuxiliaryModelWrapper

    @register_forward_proc_func(key="features_alone")
    def features_alone(model: Any, batch: Any, targets: Any = None, supp_dict: Any = None) -> Any:
        return model.extract_feat(batch)

    @register_forward_proc_func(key="losses_of")
    def losses_of(model: Any, batch: Any, targets: Any, supp_dict: Any = None) -> Any:
        return model(batch, targets)

    @register_func2extract_model_output(key="summed")
    def summed(outputs: Any, targets: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: value for name, value in outputs.items() if "loss" in name}

    @register_auxiliary_model_wrapper(key="Hinted")
    class Hinted(AuxiliaryModelWrapper):  # type: ignore[misc]
        """The student with a regressor for each level of its neck."""

        def __init__(self, student_model: nn.Module, regressors: nn.ModuleList, **kwargs: Any) -> None:
            super().__init__()
            self.student_model, self.regressors = student_model, regressors

        def forward(self, batch: Any, targets: Any) -> dict[str, Any]:
            losses = self.student_model(batch, targets, mode="loss")
            return {
                name: sum(part.mean() for part in value) if isinstance(value, list) else value.mean()
                for name, value in losses.items()
            }

        def secondary_forward(self, io_dict: Any) -> None:
            maps = io_dict["student_model.neck"]["output"]
            for regressor, level in zip(self.regressors, maps, strict=True):
                regressor(level)


class Level(nn.Module):
    """Mean squared difference of one level of the neck."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level, self.mse = level, nn.MSELoss()

    def forward(self, student: Any, teacher: Any, targets: Any) -> torch.Tensor:
        ours = student[f"regressors.{self.level}"]["output"]
        loss: torch.Tensor = self.mse(ours, teacher["neck"]["output"][self.level])
        return loss


def box_of(bench: Bench) -> Any:
    """Return torchdistill's box for the same training."""
    from torchdistill.core.distillation import get_distillation_box

    schedule, levels = bench.schedule, len(bench.method.regressors)
    regressors = nn.ModuleList(copy.deepcopy(adapter.conv) for adapter in bench.method.regressors)
    hooks = ["student_model.neck", *(f"regressors.{level}" for level in range(levels))]
    terms = {
        f"hint{level}": {
            "criterion": Level(level),
            "weight": 0.5 * bench.plan.options.hint_weight / levels,
        }
        for level in range(levels)
    }
    config = {
        "num_epochs": 1,
        "teacher": {
            "forward_proc": "features_alone",
            "forward_hook": {"output": ["neck"]},
            "requires_grad": False,
        },
        "student": {
            "auxiliary_model_wrapper": {"key": "Hinted", "kwargs": {"regressors": regressors}},
            "forward_proc": "losses_of",
            "forward_hook": {"output": hooks},
        },
        "criterion": {
            "key": "WeightedSumLoss",
            "func2extract_model_loss": "summed",
            "kwargs": {"model_term": {"weight": 1}, "sub_terms": terms},
        },
        "optimizer": {
            "key": "AdamW",
            "kwargs": {"lr": schedule.lr, "weight_decay": schedule.weight_decay},
            "max_grad_norm": schedule.clip_norm,
        },
    }
    teacher, student = copy.deepcopy(bench.teacher.model), copy.deepcopy(bench.student)
    device = torch.device(bench.asked.device)
    return get_distillation_box(teacher, student, {}, config, device, None, False, 1)


class Theirs:
    """The body of the loop in torchdistill's examples."""

    def __init__(self, bench: Bench) -> None:
        from torchdistill.misc.log import MetricLogger, SmoothedValue

        register()
        self.box, self.preprocessor = box_of(bench), bench.student.data_preprocessor
        self.logger = MetricLogger(delimiter="  ")
        self.logger.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
        self.box.student_model.train()
        self.box.teacher_model.eval()

    def step(self, batch: Any) -> float:
        data = self.preprocessor(batch, True)
        loss = self.box.forward_process(data["inputs"], data["data_samples"], None)
        self.box.post_forward_process(loss=loss)
        value = float(loss.item())
        self.logger.update(loss=value, lr=self.box.optimizer.param_groups[0]["lr"])
        return value


def main() -> int:
    """Print the ratios; return 1 if that to unchanged torchdistill exceeds the limit, 2 if the losses differ."""
    asked = options(__doc__, "fitnets").parse_args()
    if asked.precision != "fp32" or not asked.method.startswith("fitnets"):
        sys.exit("this comparison is of fitnets, without --amp")
    sides = against("torchdistill", Theirs, asked.device)
    seen = by_turns(asked, sides)
    here, there = (seen[side.name].first_loss for side in sides[:2])
    if here is None or there is None or abs(here - there) > 1e-4 * abs(here):
        print(f"the first losses differ: {here} here, {there} there: no comparison")
        return 2
    print(f"first loss: {here:.6f} here, {there:.6f} there")
    return int(not tell(asked, sides, seen, LIMIT))


if __name__ == "__main__":
    sys.exit(main())
