"""From the name of a variant to a network: choosing variants, matching their cost, building them."""
