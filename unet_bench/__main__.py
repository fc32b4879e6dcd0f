"""`python -m unet_bench`."""

from unet_bench.cli import main

main()
