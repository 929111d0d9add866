"""Measuring the gallery: the legacy path and the new one, on the same questions."""
