"""Putting content into a gallery: lines of a file, and synthetic shapes made in SQL."""
