"""The cache of builds: steps, cache mounts, their ways to other machines, their end."""
