"""A real Kubernetes of this machine's own for tests: built from source, in namespaces that nothing leaves."""
