"""Many runs: from a file of methods, seeds, settings and suites to tasks, and who does them."""
