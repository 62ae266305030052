"""What turns the notebooks into the companion that a reader opens; it changes no number in them."""
