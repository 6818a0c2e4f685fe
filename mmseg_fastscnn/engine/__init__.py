"""What happens around mmengine's loop: runner, hooks, resuming, mixed precision."""
