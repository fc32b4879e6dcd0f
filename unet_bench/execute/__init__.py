"""Runs the cells of a plan: the driver, and what carries a cell to a process and its row back."""
