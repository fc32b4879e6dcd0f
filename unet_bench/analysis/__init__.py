"""What rows come to: effects, ranks, recommendations, comparisons. Frames in, findings out."""
