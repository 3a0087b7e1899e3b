"""Pure values and decisions that all services share. No IO."""
