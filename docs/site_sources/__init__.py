"""Makes the sources of the documentation site: docs/conf.py calls it, and what needs no Sphinx the tests call too."""
