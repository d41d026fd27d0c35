"""What an instance serves: an environment or a batch, and the calls that operations make."""
