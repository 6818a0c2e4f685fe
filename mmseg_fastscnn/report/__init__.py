"""Reports for people: they read results, and train nothing."""
