//! OpenTelemetry receiver: what an instrumented SUT tells about itself, by instance and endpoint.
