"""The builder: steps, layers, caches, outputs, history of builds."""
