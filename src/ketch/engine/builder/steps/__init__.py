"""What executes the steps: RUN, COPY, ADD, and containers of a build's client."""
