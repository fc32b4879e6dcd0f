"""Data sets: the shape they share (`dataset`), the reader of folders (`folder`), two without files (`cells`, `brain`).

Nothing here imports torch: a data set is numpy arrays, read and checked once by the parent process.
"""
