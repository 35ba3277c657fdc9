"""OpenMP's threads sleep while they wait only if other processes use the cores."""

import os

import pytest

from kdbench.threads import WAITING, variables, wait_well


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Two cores, and no choice by the user."""
    for name in (*WAITING, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


def policy(monkeypatch, load, **variables):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    wait_well()
    return os.environ.get("OMP_WAIT_POLICY")


@pytest.mark.parametrize(
    ("load", "threads", "expected"),
    [
        (0.1, "", None),
        (1.0, "", "PASSIVE"),
        (1.0, "1", None),
        (1.9, "1", "PASSIVE"),
        (0.1, "2", None),
        (0.1, "4", "PASSIVE"),
    ],
)
def test_threads_sleep_where_the_cores_are_taken(monkeypatch, load, threads, expected):
    assert policy(monkeypatch, load, OMP_NUM_THREADS=threads) == expected


@pytest.mark.parametrize("name", WAITING)
def test_what_the_user_chose_stays(monkeypatch, name):
    policy(monkeypatch, 8.0, **{name: "ACTIVE"})
    assert os.environ[name] == "ACTIVE"
    assert {each for each in WAITING if each in os.environ} == {name}


def test_a_worker_computes_with_its_cores():
    assert set(variables(3).values()) == {"3"}
