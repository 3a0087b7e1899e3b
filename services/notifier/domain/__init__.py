"""What the notifier decides: pure, with every time an argument."""
