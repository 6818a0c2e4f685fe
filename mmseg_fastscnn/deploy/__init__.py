"""Export, check, run and time trained models."""
