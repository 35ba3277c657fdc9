"""Images for training and evaluation: datasets, their order, loaders and pipelines."""
