"""What the gateway decides, from values alone: who signed, what a body says, whom it is about."""
