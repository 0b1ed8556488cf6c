"""Control groups of containers, on cgroup v1, hybrid and v2 machines alike."""
