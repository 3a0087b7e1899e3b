"""The distributed profile, judged from outside while its processes, its broker and its database are killed."""
