"""The Engine API over HTTP: routes, versions, shapes, status codes."""
