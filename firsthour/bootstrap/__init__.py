"""What makes one running system of the services, on either profile."""
