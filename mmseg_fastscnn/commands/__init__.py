"""What the command line needs: common options, and a user's mistakes as one message."""
