"""What the supervisor asks of a room: a part of the local target that plays one AWS service's machines."""

from typing import Protocol


class Room(Protocol):
    """Compares what an emulator says should run with the processes there are, and acts on the difference."""

    def step(self) -> None:
        """Bring the processes in line once; called twice a second, so it never waits for long."""

    def close(self) -> None:
        """End every process of this room, waiting until all have ended."""
