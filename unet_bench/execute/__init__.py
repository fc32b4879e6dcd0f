"""Running cells: a parent that waits, and a worker process for each cell."""
