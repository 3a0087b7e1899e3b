"""The services, what they stand on, and the command line that starts them."""
