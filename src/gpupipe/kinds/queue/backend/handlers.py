"""What Lambda calls for a `queue` pipeline."""

from gpupipe.functions.queue_transport import QueueTransport
from gpupipe.functions.workings import Workings
from gpupipe.kinds.queue.backend.fleet import Fleet
from gpupipe.kinds.queue.backend.settings import QueueSettings

WORKINGS = Workings(settings=QueueSettings, transport=QueueTransport, backend=Fleet)

dispatch = WORKINGS.dispatch
guard = WORKINGS.guard
