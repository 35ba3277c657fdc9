"""kdbench: benchmarks and leaderboards for knowledge distillation in dense prediction.

The functions here do the same as the commands of the same names, for use in a notebook or script. They print
nothing; progress goes to the logger ``kdbench``.
"""

from kdbench.experiments import evaluate, run, sweep, tune
from kdbench.findings import compare, leaderboard, reproduce

__all__ = ["__version__", "compare", "evaluate", "leaderboard", "reproduce", "run", "sweep", "tune"]
__version__ = "0.1.0"
