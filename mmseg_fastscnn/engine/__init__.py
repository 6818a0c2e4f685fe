"""What happens round the loop of training, validation and testing."""
