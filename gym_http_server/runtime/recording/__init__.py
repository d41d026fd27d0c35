"""Records episodes and videos in the files of Gym's monitor."""
