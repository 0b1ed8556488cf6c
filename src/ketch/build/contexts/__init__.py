"""Build contexts: their names, what `.dockerignore` leaves out, what steps want of them."""
