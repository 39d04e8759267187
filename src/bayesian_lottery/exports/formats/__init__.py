"""The code of each of `study.formats.FORMATS`, which says what such a module has."""
