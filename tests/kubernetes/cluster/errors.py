"""What goes wrong with a cluster, said so that a person can act on it."""


class Failure(Exception):
    """A cluster could not be started, reached or changed; the text says what to do."""


class NoNode(Exception):
    """This machine cannot carry a node; the text says why, in one line."""
