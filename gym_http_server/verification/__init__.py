"""Replays of uploaded trajectories by the server itself: verdicts about scores, and frames of recorded episodes."""
