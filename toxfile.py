"""Lets tox environments share one virtual environment: tox rebuilds it when another name comes along."""

from __future__ import annotations

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class SharedRunner(VirtualEnvRunner):
    """A virtual environment that any tox environment of the same settings may use."""

    @staticmethod
    def id() -> str:
        """Name of the runner in tox.ini."""
        return "shared"

    def _setup_env(self) -> None:
        conf = {"name": self.conf.name, "type": type(self).__name__}
        with self.cache.compare(conf, ToxEnv.__name__):
            """Leaving the block records the name, so that the check in tox finds its own."""
        super()._setup_env()


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Make the runner known."""
    register.add_run_env(SharedRunner)
