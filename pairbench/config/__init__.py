"""From the words of a spec or a suite to a validated config."""
