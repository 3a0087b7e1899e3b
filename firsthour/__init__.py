"""The program: what makes one installation of the services."""
