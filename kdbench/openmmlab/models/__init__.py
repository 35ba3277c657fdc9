"""From a config to a built model."""
