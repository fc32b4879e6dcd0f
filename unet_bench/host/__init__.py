"""The machine that a process is on: its devices, its environment, what others hold of it."""
