"""The diagnosis of an installation: each check with its remedy."""
