"""Checks before a training: of its models and of its first batch."""
