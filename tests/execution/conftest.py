from __future__ import annotations

import pytest
from sweep_support import sweep_of
from test_sweep import results


@pytest.fixture(scope="session")
def local_records(tmp_path_factory, small_digits):
    """What the sweep of pretended trainings records under the executor ``local``."""
    folder = tmp_path_factory.mktemp("local")
    assert sweep_of(folder, small_digits).run()
    return results(folder)
