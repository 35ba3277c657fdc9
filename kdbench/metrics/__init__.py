"""The official evaluations as pure functions on arrays, files or folders: no torch, no OpenMMLab.

Every score is a fraction in [0, 1], unrounded. Each module follows the official evaluation of one benchmark step by
step, and names it in its docstring.
"""
