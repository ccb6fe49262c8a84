"""Read the log lines of a pipeline's workers and functions on one time line."""
