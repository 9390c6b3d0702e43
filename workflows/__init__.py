"""Durable plans, one module a capability. Deterministic: the world is touched by activities only."""
