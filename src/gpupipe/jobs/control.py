"""Start and stop a pipeline's machines by asking the guard."""
