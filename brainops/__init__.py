"""What BrainOps knows: the engine-free library. Nothing in here imports temporalio."""
