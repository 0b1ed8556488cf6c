"""ketch: a container engine with two masts, containers and virtual machines."""

__version__ = "0.1.0"
