"""The recipes of attention transfer: `{config: {name: (value, source)}}`."""

RECIPES = {}
