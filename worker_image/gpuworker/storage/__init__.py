"""Objects of the bucket: got and put."""
