"""The guard's right to look: renewed while its holder lives, and free soon after the holder has died.

It was once taken for as long as the function may run at most: a guard that was killed kept every other from looking for
two minutes, in which no machine started.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gpupipe.functions import log
from gpuworker.ledger import Ledger

LEASE_S = 15.0
"""How long a look that was killed keeps others out: with 5 s for a machine to start it is less than 30 s, the shortest
visibility timeout and 10 s. A process that lives gets a turn far sooner, on two cores beside twenty others too."""
RENEW_S = 4.0
"""Three may fail before it is lost, each by a client that waits 3 s at most (`surroundings`)."""


@contextmanager
def renewing(ledger: Ledger, pipeline: str, holder: str, *, every_s: float = RENEW_S) -> Iterator[None]:
    """Renew the lease that `holder` has, from a thread beside the block, and give it back at its end."""
    over = threading.Event()
    thread = threading.Thread(
        target=_renew, args=(ledger, pipeline, holder, over, every_s), name="renew-lease", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()  # one that is under way would take the lease anew after it was given back
        ledger.release_lease(pipeline, holder)


def _renew(ledger: Ledger, pipeline: str, holder: str, over: threading.Event, every_s: float) -> None:
    is_held = True
    while is_held and not over.wait(every_s):
        try:
            is_held = ledger.acquire_lease(pipeline, holder, LEASE_S)
        except Exception as error:  # whatever it is: the look goes on, and the next renewal may succeed
            log.warning("lease_not_renewed", reason=repr(error))
    if not is_held:
        log.warning("lease_lost")
