"""From a user's folder to the config of a run on it."""
