"""The entry point of a trial's recorder."""

from pmlive.cli.faults.trial import main

raise SystemExit(main())
