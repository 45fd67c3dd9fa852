"""``python -m leannet_cli``: the command for launchers that start modules, such as torchrun."""

from leannet_cli.main import main

if __name__ == "__main__":
    main()
