"""Weights in files: found, read, matched to a model, written."""
