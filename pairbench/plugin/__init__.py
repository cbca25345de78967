"""What a plugin sees and how it is found: the four interfaces, the hooks, the events, and the registry."""
