"""Distilling the Knowledge in a Neural Network (Hinton, Vinyals, Dean; 2014)."""
