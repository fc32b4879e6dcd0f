"""Data sets: the shape they share (`dataset`), what `--data` means (`sources`), a reader a format,
two without files.

Nothing here imports torch: a data set is numpy arrays, read and checked once by the parent process.
"""
