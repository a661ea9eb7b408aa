"""Trees of JSON: the paths to everything in one, and changes of what is at a path."""


def put(*path, value):
    """Return a function that sets what is at a path of a tree."""

    def change(tree):
        *parents, last = path
        for key in parents:
            tree = tree[key]
        tree[last] = value

    return change


def paths(value, path=()):
    """Yield the paths to everything in a tree, of lists to the first two items."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = list(enumerate(value))[:2]
    for key, inner in items:
        yield from paths(inner, (*path, key))
