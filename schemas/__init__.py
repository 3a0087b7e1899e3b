"""The vocabulary of FirstHour: events, topics, and the shapes of the three configuration files."""
