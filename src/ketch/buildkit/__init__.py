"""BuildKit's gRPC API over the engine's builder: what ``docker buildx`` speaks."""
