"""One head for each loss that a teacher drives."""
