"""The demo: made-up visitors and reps over HTTP."""
