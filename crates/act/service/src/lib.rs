//! The software under test as instances: its process, readiness, network, logs and exceptions.
