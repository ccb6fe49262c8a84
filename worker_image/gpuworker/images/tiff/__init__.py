"""TIFF: its pages, what samples mean, its blocks."""
