"""Views: recipes of augmentation, what is drawn for each image, and how a batch is augmented.

Imports config, errors, system and what is below them.
"""
