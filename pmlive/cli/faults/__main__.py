"""Run the recorder of one trial."""

from pmlive.cli.faults.recorder import main

raise SystemExit(main())
