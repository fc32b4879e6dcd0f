"""Recipes that ship, as TOML; what one leaves out is as in `default` (`unet_bench/recipe.py`)."""
