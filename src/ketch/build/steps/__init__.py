"""What instructions come to: changes of a stage's state, and work for an executor."""
