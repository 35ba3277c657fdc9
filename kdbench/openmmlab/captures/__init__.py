"""Captures: what "neck", "rois", "logits" or "assignments" mean in each family of models."""
