"""What has to be ended when a command is over, however it ends: a thread that it has begun must say nothing later."""

from contextlib import ExitStack

AT_END = ExitStack()
