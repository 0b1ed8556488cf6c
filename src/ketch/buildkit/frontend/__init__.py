"""Front ends: what is asked of them, their attributes and inputs, those that are images."""
