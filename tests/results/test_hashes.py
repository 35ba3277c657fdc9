import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.results.hashes import OF_THE_METHOD, hashes
from kdbench.specs import digest, unlabelled

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=40),
    max_leaves=60,
)
keys = st.text() | st.sampled_from([*sorted(OF_THE_METHOD), "pair", "data", "selector"])


@given(st.dictionaries(keys, values, max_size=8))
def test_they_are_the_digests(spec):
    named = unlabelled(spec)
    recipe = {key: value for key, value in named.items() if key not in OF_THE_METHOD}
    assert hashes(spec)[:2] == (digest(named), digest(recipe))


@pytest.mark.parametrize(("first", "second"), [(1, 1.0), (1, True), (0.0, -0.0), ("1", 1)])
def test_equal_values_of_other_types_are_other_specs(first, second):
    large = {f"key{i}": "x" * 50 for i in range(50)}
    specs = [{"pair": {**large, "value": value}} for value in (first, second)]
    assert [hashes(spec)[0] for spec in specs] == [digest(spec) for spec in specs]
    assert hashes(specs[0]) != hashes(specs[1])
