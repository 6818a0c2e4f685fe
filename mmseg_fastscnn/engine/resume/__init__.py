"""Which checkpoint a run goes on from, what it takes over, and that this fits."""
