"""The frozen teacher, and where its levels and weights come from."""
