"""The demo: the main job from an empty machine to a report."""
