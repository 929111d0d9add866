"""The HTTP API: the gallery for a web front end."""

PREFIX = "/api/v1"
