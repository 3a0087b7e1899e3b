"""The SQL of the router: leads, the queue, assignments, decisions, pools and reps."""
