"""Trains a method's adversary beside the student."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from torch import Tensor, nn

from kdbench.distill.method import check_terms
from kdbench.distill.randomness import generator, seeded
from kdbench.distill.settings import unchanged
from kdbench.errors import running
from kdbench.openmmlab.training.hooks import distiller_of


class AdversaryHook(Hook):  # type: ignore[misc]
    """Steps the adversary after each step of the student, on what the student saw since the last one.

    It runs before the other hooks: its losses are logged with the student's, and averages and checkpoints
    hold the adversary of the same iteration. In a distributed run DDP only makes the initial weights equal;
    its gradients are averaged here.
    """

    priority = "HIGHEST"
    key = "kdbench_adversary_optimizer"

    optimizer: torch.optim.Optimizer

    def before_run(self, runner: Any) -> None:
        """Make the optimizer; a checkpoint is loaded after this."""
        model = distiller_of(runner)
        self.gathered = 0
        """Iterations whose gradients the next step uses."""
        with running(model.title, "adversary_optimizer()"):
            parameters = list(model.method.adversary().parameters())
            self.optimizer = model.method.adversary_optimizer(parameters)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Step, and add the losses to those of the iteration."""
        model = distiller_of(runner)
        student = runner.optim_wrapper.param_groups[0]
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * student["lr"] / student["initial_lr"]
        with _training(model.method.adversary()) as parameters:
            total, losses = self._losses(model)
            total.backward()  # type: ignore[no-untyped-call]
            self.gathered += 1
            if runner.optim_wrapper.should_update():
                self._update([p.grad for p in parameters if p.grad is not None])
        outputs.update({name: value for name, value in losses.items() if name != "loss"})

    def _update(self, gradients: list[Tensor]) -> None:
        """Take a step with the mean of the gathered gradients, over iterations and processes."""
        if self.gathered > 1:
            torch._foreach_div_(gradients, float(self.gathered))
        all_reduce_params(gradients, op="mean")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.gathered = 0

    def _losses(self, model: Any) -> tuple[Tensor, dict[str, float]]:
        """Return the sum of the adversary's losses, and each by its name in the log. Raises NonFiniteLoss."""
        step, model.seen = model.seen, None
        key = *model.stream(), "adversary"
        step = replace(step, generator=generator(step.images.device, *key))
        with seeded(*key), running(model.title, "adversary_losses()"), unchanged():
            terms = model.method.adversary_losses(step)
            check_terms(terms)
        summed: tuple[Tensor, dict[str, float]] = model.parse_losses(
            {f"loss_adversary_{name}": term for name, term in terms.items()}
        )
        return summed

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Save the optimizer's state in the checkpoint; the weights are part of the model's."""
        checkpoint[self.key] = self.optimizer.state_dict()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Restore the optimizer's state."""
        self.optimizer.load_state_dict(checkpoint[self.key])


@contextmanager
def _training(adversary: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Let the adversary's parameters require gradients within this block only."""
    adversary.requires_grad_(True)
    try:
        yield list(adversary.parameters())
    finally:
        adversary.requires_grad_(False)
