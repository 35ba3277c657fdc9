"""Plugins that end the process, pass for a user, or never end: one line that names them, and the others work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from kdbench.cli import main
from kdbench.errors import PluginError, running
from kdbench.guests import Interruption
from kdbench.plugins import registry

GOOD = "@hookimpl\ndef kdbench_methods():\n    return [card('good-one')]\n"
AT_IMPORT = {
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "import os; os._exit(0)": "Exited: it called os._exit(0)",
    "from os import _exit\n@hookimpl\ndef kdbench_methods():\n    _exit(3)": "Exited: it called os._exit(3)",
    "raise GeneratorExit": "GeneratorExit",
    "raise RuntimeError('bad \\udcff \\x1b[31mred')": "RuntimeError: bad \ufffd \ufffd[31mred",
    "@hookimpl\ndef kdbench_methods():\n    while True: yield 1": "kdbench_methods gave int, not MethodCard",
    "@hookimpl\ndef kdbench_methods():\n    while True: yield card('x')": "gave more than 10000 values",
    "raise RuntimeError('x' * 10**6)": "RuntimeError: xxxxx",
}


@pytest.mark.parametrize(("source", "told"), AT_IMPORT.items())
def test_at_import_it_is_named_and_hurts_nothing(add_plugin, source, told):
    add_plugin("good-kd", GOOD)
    add_plugin("bad-kd", source)
    (bad,) = [plugin for plugin in registry().plugins if plugin.distribution == "bad-kd"]
    assert told in bad.error
    assert bad.error.isprintable()
    assert len(bad.error) < 400
    assert list(registry().methods) == ["good-one"]


def test_the_list_of_methods_names_it(add_plugin, capsys):
    add_plugin("good-kd", GOOD)
    add_plugin("bad-kd", "raise KeyboardInterrupt")
    assert main(["list", "methods"]) == 0
    shown = capsys.readouterr()
    assert "good-one" in shown.out
    assert "plugin bad-kd (bad_kd) failed: KeyboardInterrupt" in shown.err


def test_a_card_s_text_does_not_act_on_the_terminal(add_plugin, capsys):
    title = "T\\x1b]0;pwned\\x07\\x1b[31m\\u202e"
    add_plugin(
        "bad-kd",
        f'@hookimpl\ndef kdbench_methods():\n    return [card("loud", title="{title}", authors="{title}")]',
    )
    for command in (["list", "methods"], ["show", "loud"]):
        main(command)
    shown = capsys.readouterr()
    assert "loud" in shown.out
    assert not set("\x1b\x07\u202e") & set(shown.out + shown.err)


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit, StopIteration])
def test_whatever_it_raises_is_blamed_on_it(error):
    told = rf"^method 'x' failed in losses\(\): {error.__name__}"
    with pytest.raises(PluginError, match=told), running("method 'x'", "losses()"):
        raise error


def test_a_real_ctrl_c_passes_through():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interruption), running("method 'x'", "build()"):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_and_forked_processes_may_exit():
    """A thread that gives up claims ends the process; a child that a plugin forks ends itself."""
    real = os._exit
    with running("method 'x'", "build()"):
        hosted = os._exit
        child = os.fork()
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert os._exit is real
    script = "\n".join(
        [
            "import os, threading",
            "from kdbench.errors import running",
            "with running('x', 'y'):",
            "    thread = threading.Thread(target=lambda: os._exit(9))",
            "    thread.start()",
            "    thread.join(60)",
        ]
    )
    assert hosted is not real
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 9
    assert threading.current_thread() is threading.main_thread()


def test_a_run_that_hangs_fails_and_names_the_method(bench, tmp_path):
    import time

    from kdbench.openmmlab.training.runner import train

    model = bench.distiller("gfl", "fitnets", iterations=1)
    model.method.losses = lambda step: time.sleep(600)
    subject, place = bench.subject("gfl", iterations=1), bench.place(tmp_path, step_limit=0.5)
    version = registry().method("fitnets").plugin.version
    blamed = rf"^method 'fitnets' of kdbench {version} failed in losses\(\)"
    told = rf"{blamed}: StepTimeout: an iteration took more than 0.5 s$"
    with pytest.raises(PluginError, match=told):
        train(model, subject.dataset, subject.schedule, place, Silent(), seed=0, name="hangs")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


class Silent:
    def advance(self, iteration, losses): ...

    def evaluated(self, iteration, metrics): ...
