"""Networks, addresses and published ports."""
