"""What was asked for a container: checked, merged with its image, made an OCI spec."""
