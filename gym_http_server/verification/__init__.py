"""What the server makes of uploaded trajectories: verdicts about scores, frames of recorded episodes, datasets."""
