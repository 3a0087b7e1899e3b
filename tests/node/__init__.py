"""The libraries of Node.js with which other programs send to the gateway."""
