"""The only way a workflow touches the world: contract in, library call, contract out."""
