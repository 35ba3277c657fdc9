"""A sweep whose workers die on other machines, where it cannot see that the owner of their claims is dead."""

from __future__ import annotations

from sweep_support import Told, begun, results, sweep_of

from kdbench.runs.claims import Claims


def test_a_pack_whose_workers_are_always_lost_has_failed(tmp_path, small_digits, monkeypatch):
    monkeypatch.setitem(Claims.__init__.__kwdefaults__, "stale", 1.0)
    view = Told()
    sweep = sweep_of(tmp_path, small_digits, view=view, mode="lost", methods=("hinton",), seeds=1)
    assert sweep.run()
    assert sum(begun(tmp_path).values()) == 3
    why = "its worker died 3 times without getting further, at last with killed by SIGKILL"
    assert {settled.why for settled, _ in view.done} == {why}
    assert not any(record["status"] == "done" for record in results(tmp_path).values())
