"""One file a probe: a function from a `MeasurementContext` to the columns it measured."""
