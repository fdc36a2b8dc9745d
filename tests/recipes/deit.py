"""The recipes of DeiT and AAL: `{config: {name: (value, source)}}`."""

RECIPES = {}
