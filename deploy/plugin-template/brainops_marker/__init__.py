"""An example package: a service that needs a marker file, and what mends it when the file is gone."""
