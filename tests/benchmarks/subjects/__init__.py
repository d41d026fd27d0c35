"""What is measured, a kind of work each."""
