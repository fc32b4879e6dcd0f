"""A trained network as a folder that runs without this package: `unet-bench export`."""

from unet_bench.export.folder import Exported, export_network

__all__ = ["Exported", "export_network"]
