"""BuildKit's build graphs (LLB): their messages, and what a checked graph says."""
