"""The OCI runtime: plan, sandbox, launcher, shim."""
