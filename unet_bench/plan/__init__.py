"""Suite × registry → cells, each with what it will cost and what its result depends on."""
