"""What happens round mmengine's loop: runner, hooks, resuming, mixed precision."""
