"""`python -m unet_bench`."""

from unet_bench.cli.app import main

main()
