"""Pixels: a file's content as samples and as a picture."""
