"""The gateway: a client drives its build, looks into it, opens containers."""
