"""The typed messages that cross room, process and history boundaries. Frozen, small, and open to later fields."""
