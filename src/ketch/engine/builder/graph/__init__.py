"""Running build graphs (LLB): what executes the vertices that ``ketch.llb`` checked."""
