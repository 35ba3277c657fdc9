"""Exit codes of a worker."""

from __future__ import annotations

DONE = 0
"""All cells are done."""
FAILED = 1
"""Some failed, which is recorded."""
REFUSED = 2
"""A user's mistake: some cells cannot be run, and have no record."""
HELD = 10
"""Nothing was run: another process runs the cells, or trains what they need."""
INTERRUPTED = 75
"""It was stopped, and can be resumed."""
