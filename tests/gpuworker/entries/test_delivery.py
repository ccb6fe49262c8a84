import contextlib
from typing import Any

from tests.gpuworker.station import Station, until

from gpuworker.entries.delivery import Delivery, WorkQueue


def received(queue: WorkQueue) -> Delivery:
    return until(lambda: queue.receive(wait_s=1))


def test_message_is_held_until_it_is_deleted(station: Station) -> None:
    station.job(["tree"])
    queue = station.queue()
    delivery = received(queue)
    assert (delivery.receives, delivery.is_last) == (1, False)
    assert queue.receive(wait_s=0) is None
    delivery.extend()
    delivery.delete()
    assert station.messages() == {"waiting": 0, "held": 0}


def test_given_back_message_is_there_for_the_next(station: Station) -> None:
    station.job(["tree"])
    queue = station.queue()
    received(queue).give_back()
    again = received(queue)
    assert again.receives == 2
    again.give_back(delay_s=20)
    assert queue.receive(wait_s=0) is None


def test_last_receive_that_is_nobodys_fault_does_not_lead_to_the_dead_letter_queue(station: Station) -> None:
    # given a message on its last receive
    station.job(["tree"])
    queue = station.queue()
    for _ in range(station.max_receives - 1):
        received(queue).give_back()
    last = received(queue)
    assert last.is_last
    # when its machine goes away
    last.give_back_unblamed()
    # then the message starts anew
    fresh = received(queue)
    assert (fresh.receives, fresh.body) == (1, last.body)
    assert station.messages() == {"waiting": 0, "held": 1}


def test_earlier_receive_is_simply_given_back(station: Station) -> None:
    station.job(["tree"])
    queue = station.queue()
    received(queue).give_back_unblamed()
    assert received(queue).receives == 2


def test_machine_that_may_not_send_gives_back_all_the_same(station: Station) -> None:
    station.job(["tree"])
    queue = station.queue()
    queue.max_receives = 1

    class Forbidding:
        """The queue's client for a role without sqs:SendMessage."""

        def __getattr__(self, name: str) -> Any:
            return getattr(station.client("sqs"), name)

        def send_message(self, **_: Any) -> None:
            refusal = {"Error": {"Code": "AccessDenied", "Message": ""}}
            raise self.exceptions.ClientError(refusal, "SendMessage")

    delivery = received(queue)
    queue.client = Forbidding()
    delivery.give_back_unblamed()
    queue.client = station.client("sqs")
    assert received(queue).receives == 2


def test_what_a_killed_worker_held_is_given_back_at_once(station: Station) -> None:
    # given a worker that was killed with one message in its hands, and was done with another
    station.job(["a", "b"], shard_items=1)
    queue = station.queue()
    received(queue).delete()
    held = received(queue)
    # when the next one starts on this machine
    again = station.queue()
    assert again.give_back_left_behind() == 1
    # then the message does not wait for its visibility to end
    assert received(again).body == held.body
    with contextlib.suppress(StopIteration):
        next(again.folder.iterdir()).unlink()
    assert station.queue().give_back_left_behind() == 0


def test_left_behind_message_that_is_gone_is_no_trouble(station: Station) -> None:
    station.job(["tree"])
    queue = station.queue()
    held = received(queue)
    station.client("sqs").delete_message(QueueUrl=station.queue_url, ReceiptHandle=held.receipt)
    assert station.queue().give_back_left_behind() == 1
    assert station.queue().give_back_left_behind() == 0


def test_message_is_too_old_before_sqs_takes_it_away(station: Station) -> None:
    station.job(["tree"])
    queue = station.queue()
    now = 0.0
    queue.clock = lambda: now
    delivery = received(queue)
    now = 10.9 * 3600
    assert not delivery.is_too_old
    now = 11.1 * 3600
    assert delivery.is_too_old


def test_message_is_not_held_longer_than_sqs_allows(station: Station) -> None:
    """SQS refuses, and the message would come back in the middle of the work."""
    # given a pipeline with SQS's longest visibility timeout
    station.job(["tree"])
    queue, asked = station.queue(), list[int]()
    queue.visibility_timeout_s = 43_200
    now = 0.0
    queue.clock = lambda: now
    delivery = received(queue)
    queue.set_visibility = lambda receipt, seconds: asked.append(seconds)  # type: ignore[method-assign]
    # when it is held on, at once and hours later
    now = 1.0
    delivery.extend()
    now = 10.5 * 3600
    delivery.extend()
    # then never beyond 12 hours after its receive
    assert asked == [43_139, 5_340]
