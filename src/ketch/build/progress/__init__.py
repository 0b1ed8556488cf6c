"""What a build tells: events about vertices, names of steps, the classic builder's text."""
