"""What is held against what people write: a job's options, and the methods of a task or an engine."""
