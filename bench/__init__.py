"""Side by side with Docker: start latency, throughput, memory. Run it with ``make bench``."""
