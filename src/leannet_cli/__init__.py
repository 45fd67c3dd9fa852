"""The command line of leannet: one file per verb, torch imported only inside a verb."""
