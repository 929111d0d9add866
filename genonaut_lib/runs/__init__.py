"""Running notebooks, alone and in sequence, and what a notebook calls while it runs."""
