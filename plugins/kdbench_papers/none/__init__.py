"""The plain student: no distillation."""
