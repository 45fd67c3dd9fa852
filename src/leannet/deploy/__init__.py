"""Networks where they are used: exported to one file that is proven to answer as they do, and run.

Nothing is imported here: `leannet.deploy.export` makes files and needs the packages of the extra ``export`` for it, the
other modules do not.
"""
