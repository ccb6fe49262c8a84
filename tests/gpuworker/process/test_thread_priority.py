import os
import sys
import threading

from gpuworker.process.thread_priority import let_model_go_first, share_interpreter_finely


def test_only_the_thread_that_asks_steps_back() -> None:
    seen: list[int] = []

    def step_back() -> None:
        let_model_go_first()
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) if sys.platform == "linux" else 0)

    before = os.getpriority(os.PRIO_PROCESS, 0)
    thread = threading.Thread(target=step_back)
    thread.start()
    thread.join()
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    assert seen == [max(before, 10) if sys.platform == "linux" else 0]


def test_turns_are_shorter_than_pythons_own() -> None:
    before = sys.getswitchinterval()
    try:
        share_interpreter_finely()
        assert sys.getswitchinterval() < 0.005
    finally:
        sys.setswitchinterval(before)
