"""Items from the bucket through a task and back: stages overlapped, bounded, watched; `run_shard` on top."""
