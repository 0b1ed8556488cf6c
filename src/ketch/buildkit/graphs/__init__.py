"""Build graphs (LLB) of clients and front ends: where they run, what they come to."""
