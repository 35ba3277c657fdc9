"""The conformance suite, which checks any method against the contract: promises, checks and report.

:mod:`kdbench.conformance.promises` lists the promises; each names the function of
:mod:`kdbench.conformance.checks` that checks it. ``kdbench test-plugin`` and ``pytest --kdbench-method`` run the
same checks, and kdbench's own methods pass them too.
"""
