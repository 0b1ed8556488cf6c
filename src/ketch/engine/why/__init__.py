"""Why a container stopped or will not start."""
