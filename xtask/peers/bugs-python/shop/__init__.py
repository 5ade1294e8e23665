"""Small modules with one bug each, as they occur in the world. The causes are in ../../bugs.toml."""
