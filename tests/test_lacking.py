"""A required program, extra or dataset that is missing fails a test instead of skipping it."""

import lacking
import pytest


@pytest.mark.parametrize("required", ["", "data", "data,extras"])
def test_a_test_skips_for_want_of_what_is_not_required(monkeypatch, required):
    monkeypatch.setenv("KDBENCH_REQUIRE", required)
    with pytest.raises(pytest.skip.Exception, match="no browser"):
        lacking.skip("programs", "no browser")


def test_it_fails_for_want_of_what_is(monkeypatch):
    monkeypatch.setenv("KDBENCH_REQUIRE", "programs,extras")
    with pytest.raises(pytest.fail.Exception, match="KDBENCH_REQUIRE=extras: install it"):
        lacking.extra("no_such_module_anywhere", "install it")


def test_a_module_that_is_there_is_given(monkeypatch):
    monkeypatch.setenv("KDBENCH_REQUIRE", "extras")
    assert lacking.extra("json", "").loads("1") == 1
