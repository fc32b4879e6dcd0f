"""One file a probe. A probe is a function of a `Bench` that returns the columns it measured."""
