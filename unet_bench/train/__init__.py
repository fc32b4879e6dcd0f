"""Training and scoring: the same windows, augmentation, budget and yardstick for every variant."""
