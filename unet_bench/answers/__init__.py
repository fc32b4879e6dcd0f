"""What the rows of runs come to: effects of choices, fronts and ranks, recommendations."""
