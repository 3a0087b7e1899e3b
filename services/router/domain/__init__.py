"""What the router decides, as pure functions: lives of leads, turns, choices, qualification."""
