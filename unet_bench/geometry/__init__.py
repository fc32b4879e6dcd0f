"""What a network does to sizes: traced by a forward pass without data."""
