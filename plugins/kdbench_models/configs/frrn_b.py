"""FRRN-B (Pohlen et al., CVPR 2017): FRRN-A with one pooling more."""

_base_ = "frrn_a.py"

model = {"backbone": {"plan": "b"}}
