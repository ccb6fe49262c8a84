import threading

from tests.local.waiting import until

from gpupipe.local import snapshots


class Recorder:
    """Something with changes that counts how often it was saved."""

    def __init__(self) -> None:
        self.changes = 0
        self.saves = 0
        self.saved = threading.Event()

    def save(self) -> None:
        self.saves += 1
        self.saved.set()


def test_changes_are_saved_once_and_rest_is_left_alone() -> None:
    # given
    recorder = Recorder()
    thread = snapshots.Snapshots(save=recorder.save, changes=lambda: recorder.changes, pause_s=0.02)
    thread.start()
    # when something changes
    recorder.changes += 3
    until(lambda: recorder.saves == 1)
    # then it is saved once
    recorder.saved.clear()
    assert not recorder.saved.wait(0.2)
    assert recorder.saves == 1
    # and the next change once more
    recorder.changes += 1
    until(lambda: recorder.saves == 2)
    thread.end()
    assert not thread.is_alive()


def test_end_saves_what_is_new() -> None:
    # given a change too new to be saved yet
    recorder = Recorder()
    thread = snapshots.Snapshots(save=recorder.save, changes=lambda: recorder.changes, pause_s=60)
    thread.start()
    recorder.changes += 1
    # when it ends, then that is saved
    thread.end()
    assert recorder.saves == 1
    # and an end without changes saves nothing
    thread.end()
    assert recorder.saves == 1


def test_failed_save_is_tried_again() -> None:
    # given a save that fails once
    recorder = Recorder()

    def save() -> None:
        recorder.save()
        if recorder.saves == 1:
            raise OSError("disk full")

    thread = snapshots.Snapshots(save=save, changes=lambda: recorder.changes, pause_s=0.02)
    thread.start()
    # when something changes, then it is saved in the end
    recorder.changes += 1
    until(lambda: recorder.saves == 2)
    thread.end()
