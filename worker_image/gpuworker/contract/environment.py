"""Where a worker's process finds what it is told: a file, and variables of its environment."""

from __future__ import annotations

WORKER_FILE = "/etc/gpupipe/worker.json"
"""The `WorkerSettings` of a machine: cloud-init writes them there, and a worker looks there by default."""
CONFIG_VARIABLE = "GPUPIPE_WORKER_CONFIG"
"""Names another file with them."""
WORK_DIR_VARIABLE = "GPUPIPE_WORK_DIR"
"""The folder of what has to survive a crash; no two workers share one, so it tells whose a process is."""
MODEL_DIR_VARIABLE = "GPUPIPE_MODEL_DIR"
"""The folder whose config.json may set the task's options."""
MACHINE_VARIABLE = "GPUPIPE_MACHINE"
"""What an endpoint's instance is called; without it by its host's name."""
BIND_HOST_VARIABLE = "GPUPIPE_BIND_HOST"
"""The address that the container answers at; without it at every one."""
CALLER_TOKEN_VARIABLE = "GPUPIPE_CALLER_TOKEN"
"""What a caller has to know; without it nothing is asked of one."""
