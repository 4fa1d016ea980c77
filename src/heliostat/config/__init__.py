"""The configuration file and every other TOML file people write: strict, with line numbers.

Promises: an unknown key, a wrong type or a missing file is one `ConfigError` whose message names
the file, the line, the key and what to do; nothing is guessed.
"""
