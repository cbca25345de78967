"""From a plan to finished rounds: jobs, the processes that do them, and the commands that start them."""
