"""The processes that train: they build, prepare, train and time what a job asks for, and tell of it in events."""
