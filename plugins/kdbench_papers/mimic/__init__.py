"""Mimicking Very Efficient Network for Object Detection (Li, Jin, Yan; CVPR 2017)."""
