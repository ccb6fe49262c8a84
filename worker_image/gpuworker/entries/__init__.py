"""Ways in: a machine's loop over SQS, a container's HTTP."""
