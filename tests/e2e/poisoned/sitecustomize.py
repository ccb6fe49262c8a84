"""On the path of a test's worker only: its task dies, like a decoder with a bug, whenever it meets one mark."""

from gpuworker import tasks

tasks.TASKS = {
    **tasks.TASKS,
    "segment": "poisoned_task:PoisonedSegment",
    "detect-rooms": "poisoned_rooms:PoisonedRooms",
}
