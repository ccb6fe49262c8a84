"""Places: where an image lies on earth."""
