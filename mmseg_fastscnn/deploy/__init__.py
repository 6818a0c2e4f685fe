"""Use of a trained model, so far how fast it predicts."""
