"""`python -m advdpnp`: the command line where its script is not on the path."""

from advdpnp.cli import main

if __name__ == "__main__":
    main()
