"""The entry point of a trial's recorder."""

from pmlive.cli.faults.recorder import main

raise SystemExit(main())
