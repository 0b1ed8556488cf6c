"""One wrapper per system call and kernel format; raises OSError, knows nothing of containers."""
