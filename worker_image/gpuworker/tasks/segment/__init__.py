"""The task `segment`: instances by an engine, of an image or its tiles."""
