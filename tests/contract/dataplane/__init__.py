"""The data plane against a real Envoy with real upstreams."""
