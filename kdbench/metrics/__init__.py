"""The official evaluations as pure functions on arrays, files or folders: no torch, no OpenMMLab.

Every score is a fraction in [0, 1], unrounded. A module each follows one benchmark's own evaluation step by step;
its docstring names it.
"""
