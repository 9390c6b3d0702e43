"""What a session decided, reversed, left open, learned in passing or let expire; pure and without a model."""
