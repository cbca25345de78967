"""Training: one file for each engine, one for optimisers and schedules, one for evaluation."""
