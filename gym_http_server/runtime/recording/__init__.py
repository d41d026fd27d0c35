"""What a monitor writes: episodes, videos, terminal casts."""
