"""Metrics of a model on a split, as mmengine evaluators."""
