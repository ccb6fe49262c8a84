"""Plays EC2: the machines that the emulated one says are running, and the metadata service they ask."""
