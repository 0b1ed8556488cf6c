"""What becomes of a build: images, archives, attestations, comparison."""
