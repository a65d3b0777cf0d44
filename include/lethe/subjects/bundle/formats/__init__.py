"""The files of a bundle, each format on its own. Pure."""
