"""The parts of the page: figures, tables, style and script."""
