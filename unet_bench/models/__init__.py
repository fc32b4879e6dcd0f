"""From a variant's name to a network: choosing variants, matching their cost, building them."""
