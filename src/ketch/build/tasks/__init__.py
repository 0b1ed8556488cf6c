"""Functions that workers run for builds, on files that nobody trusts."""
