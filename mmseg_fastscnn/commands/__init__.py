"""What all commands share: their options, and one message for a user's mistake."""
