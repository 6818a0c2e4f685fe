"""What a run says: first and last lines, progress, files, TensorBoard and others."""
