"""Intervals, paired differences and ranks: numbers in, numbers out."""
