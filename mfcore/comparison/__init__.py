"""One job on every engine, each in a process of its own: how good, how fast, how close to the reference."""
