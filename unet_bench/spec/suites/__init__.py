"""Suites in TOML that ship with the package."""
