"""No secret in what a run leaves behind: what the secrets are, how they are spelled, and how they are hidden."""
