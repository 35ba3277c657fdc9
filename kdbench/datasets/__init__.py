"""The datasets that kdbench brings, registered like anybody's."""
