"""Training and evaluating the rounds of a config."""
