"""A trained model in use, and how fast it is."""
