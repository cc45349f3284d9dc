"""Makes what is drawn and generated for people: the workflows, their thumbnails, the texts and pictures of the help.

For maintainers: ``python -m workflows.make --help``, from the repository's root. Nothing here is needed to use the
pack.
"""
