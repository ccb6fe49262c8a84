"""The task `detect-rooms`: rooms of a floor plan, by its walls."""
