"""Messages to people: what is told, to whom, when, and how it gets there."""
