"""Search of a method's options on validation images."""
