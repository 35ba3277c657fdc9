"""The contract of a method as checks that any plugin can be held to: the promises, the runs, the report.

:mod:`kdbench.conformance.promises` is the list; each promise names the function of
:mod:`kdbench.conformance.checks` that looks whether it is kept. ``kdbench test-plugin`` and
``pytest --kdbench-method`` run the same ones, which kdbench's own methods pass too.
"""
