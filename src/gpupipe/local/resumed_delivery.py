"""What SQS had handed to functions when ministack was killed is handed out again at once.

The poller that received those messages, and the functions that it called, ran in ministack or below it and are dead.
SQS waits all the same until the visibility timeout is over: six minutes for the queue of S3's events, ten for shards
that a function forwards. On AWS only the functions would die, and Lambda's poller would hand a message out again.
"""

import time
from typing import Any

from gpupipe.local.gate import App, Message, Receive, Scope, Send


class ResumesDelivery:
    """ministack's application; what dead functions held is theirs no more once its state is read."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def after_reading(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                show_again(time.time())
            await send(message)

        await self._app(scope, receive, after_reading if scope["type"] == "lifespan" else send)


def show_again(now: float) -> None:
    """Make visible what was received from queues that call functions; workers, which still live, keep theirs."""
    from ministack.services import lambda_svc, sqs

    sources = {mapping.get("EventSourceArn") for _, _, mapping in lambda_svc._iter_all_esms()}
    with sqs._queues_lock:
        for queue in sqs._queues._data.values():
            if queue["attributes"].get("QueueArn") in sources:
                for message in filter(_is_held, queue["messages"]):
                    message["visible_at"] = min(message["visible_at"], now)


def _is_held(message: dict[str, Any]) -> bool:
    """Was it received? One that is only delayed was not."""
    return bool(message.get("receive_count"))
