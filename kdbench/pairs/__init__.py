"""The teacher-student pairs that kdbench brings, registered like anybody's."""
