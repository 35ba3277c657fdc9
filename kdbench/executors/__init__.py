"""Executors: where the workers of a sweep run. A plugin provides them as it provides methods."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from kdbench.cards import ExecutorCard, Options
from kdbench.hookspecs import hookimpl


class RayOptions(Options):
    """Options of the executor ``ray``."""

    address: str | None = Field(None, description="Of the cluster; default: RAY_ADDRESS, else a local one.")
    cores: int | None = Field(
        None, ge=1, description="CPU cores a worker; default: 1, with a GPU an equal share of its node's."
    )


class SlurmOptions(Options):
    """Options of the executor ``slurm``."""

    partition: str | None = Field(None, description="Partition; default: Slurm's.")
    time: int = Field(60, ge=5, description="Limit of a job, minutes: what is not done then is queued again.")
    workers: int = Field(1, ge=1, description="Workers a job, which share its GPU.")
    cores: int | None = Field(None, ge=1, description="CPU cores a worker; default: 1, with a GPU 4.")
    memory: int | None = Field(None, ge=1, description="Memory of a job, GB; default: Slurm's.")
    account: str | None = Field(None, description="Account that is charged; default: Slurm's.")
    qos: str | None = Field(None, description="Quality of service; default: Slurm's.")
    folder: Path = Field(
        Path("out/slurm"), description="Scripts and logs of the jobs, on a shared file system."
    )


@hookimpl
def kdbench_executors() -> Iterable[ExecutorCard]:
    """Provide this machine, a Ray cluster and a Slurm cluster."""
    yield ExecutorCard(
        name="local",
        title="Processes on this machine: several a GPU, or one a core.",
        target="kdbench.executors.local:Local",
    )
    yield ExecutorCard(
        name="ray",
        title="Actors on a Ray cluster: one or several a GPU, or one a core.",
        target="kdbench.executors.ray_cluster:Ray",
        requires=("ray",),
        install='pip install "kdbench[ray]"',
        options=RayOptions,
    )
    yield ExecutorCard(
        name="slurm",
        title="Jobs of a Slurm cluster, submitted with submitit.",
        target="kdbench.executors.slurm:Slurm",
        requires=("submitit",),
        install='pip install "kdbench[slurm]"',
        options=SlurmOptions,
    )
