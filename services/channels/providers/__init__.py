"""What carries messages, one module for each kind."""
