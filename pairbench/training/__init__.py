"""Trains and evaluates the rounds of a config."""
