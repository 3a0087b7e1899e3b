"""The vocabulary of FirstHour: events, topics, and the models of the three configuration files."""
