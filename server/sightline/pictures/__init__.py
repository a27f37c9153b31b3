"""From what a caller sent as a picture to what the model sees: identity, limits, preparation."""
