"""What the server makes of recorded trajectories: verdicts about scores, frames of episodes, datasets."""
