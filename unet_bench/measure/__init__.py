"""One file a probe. A probe is a function of a `MeasurementContext` that returns the columns it measured."""
