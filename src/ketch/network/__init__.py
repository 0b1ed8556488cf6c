"""Networks: bridges, addresses, endpoints, published ports."""
