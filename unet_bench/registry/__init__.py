"""Plugins: how they are found and loaded, and what they registered."""
