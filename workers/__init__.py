"""What runs: worker processes, the Temporal plugin, and the local stack."""
