"""What the laboratory adds to real OpenStack services: a way to serve them, and a binding for plain Linux bridges."""
