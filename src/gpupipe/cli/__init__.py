"""The commands: thin; the only place that prints and exits."""
