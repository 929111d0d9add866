"""Reading the gallery: a query as a value, and the statements that answer it."""
