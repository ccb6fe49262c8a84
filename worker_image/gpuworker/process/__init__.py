"""What any process of the worker has: its log, its memory, the GPU's use, who runs first."""
