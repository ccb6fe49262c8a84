import random
import threading

import pytest

from gpuworker.pipeline.budget import BudgetClosed, ByteBudget


def in_thread(call: object) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_many_threads_never_hold_more_than_the_limit() -> None:
    # given a limit, and threads that all want a good part of it
    budget = ByteBudget(1000)
    chance = random.Random(7)
    sizes = [(chance.randint(1, 100), chance.randint(0, 400)) for _ in range(400)]

    def work(part: list[tuple[int, int]]) -> None:
        for size, growth in part:
            held = budget.admit(size)
            held.grow(growth)
            held.correct(growth // 2)
            held.release()

    # when they all take and give back at once
    threads = [in_thread(lambda part=sizes[i::8]: work(part)) for i in range(8)]  # type: ignore[misc]
    for thread in threads:
        thread.join(20)
    # then nobody is left waiting, and the sum was always within the limit
    assert not any(thread.is_alive() for thread in threads)
    assert 0 < budget.peak_bytes <= 1000
    assert budget.used_bytes == 0


def test_item_larger_than_the_whole_budget_runs_alone() -> None:
    budget = ByteBudget(100)
    small = budget.admit(10)
    waiting = threading.Event()
    large_in = threading.Event()

    def large() -> None:
        waiting.set()
        held = budget.admit(500)
        large_in.set()
        held.grow(1000)
        held.release()

    thread = in_thread(large)
    assert waiting.wait(5)
    assert not large_in.wait(0.05)
    small.release()
    thread.join(5)
    assert large_in.is_set()
    assert budget.used_bytes == 0


def test_large_item_is_not_overtaken_for_ever() -> None:
    # given a large item that waits for room
    budget = ByteBudget(100)
    first = budget.admit(40)
    order: list[str] = []
    at_the_door = threading.Event()

    def large() -> None:
        at_the_door.set()
        held = budget.admit(80)
        order.append("large")
        held.release()

    def small() -> None:
        held = budget.admit(5)
        order.append("small")
        held.release()

    large_one = in_thread(large)
    assert at_the_door.wait(5)
    for _ in range(1000):  # until it stands in the line
        if budget._admission.locked():
            break
        threading.Event().wait(0.001)
    # when a small one comes later that would fit
    small_one = in_thread(small)
    assert not order
    first.release()
    large_one.join(5)
    small_one.join(5)
    # then the large one went first
    assert order == ["large", "small"]


def test_downloaded_items_cannot_lock_each_other_out() -> None:
    # given downloads that fill all that new items may take
    budget = ByteBudget(100)
    held = [budget.admit(10) for _ in range(5)]
    # when each wants more than is left for all of them
    threads = [in_thread(lambda one=one: (one.grow(60), one.release())) for one in held]  # type: ignore[misc]
    for thread in threads:
        thread.join(5)
    # then they go one after the other
    assert budget.used_bytes == 0
    assert budget.peak_bytes <= 110


def test_closing_lets_nobody_wait() -> None:
    budget = ByteBudget(10)
    budget.admit(10)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            budget.admit(1)
        except BudgetClosed as error:
            caught.append(error)

    thread = in_thread(wait)
    budget.close()
    thread.join(5)
    assert caught
    with pytest.raises(BudgetClosed):
        budget.admit(1)


def test_releasing_twice_gives_back_once() -> None:
    budget = ByteBudget(10)
    other = budget.admit(3)
    held = budget.admit(2)
    held.release()
    held.release()
    assert budget.used_bytes == 3
    other.release()
