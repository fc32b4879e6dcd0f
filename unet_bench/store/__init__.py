"""A run on disk: the table of columns, the log of cells, the tables made of it."""
