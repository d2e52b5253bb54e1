"""The emoji world: scenes with exact masks, and the training of the checkpoint that ships in ``zoo/tiny``."""
