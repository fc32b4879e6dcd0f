"""Plugins: how they are found and loaded, and what they registered."""

from unet_bench.registry.registrar import Registrar

__all__ = ["Registrar"]
