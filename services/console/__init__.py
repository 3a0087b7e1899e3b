"""The console: pages for reps, managers, marketers and operators."""
