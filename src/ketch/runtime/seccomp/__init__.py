"""Seccomp profiles (seccomp(2)): what a container may ask of the kernel, as values and as BPF."""
