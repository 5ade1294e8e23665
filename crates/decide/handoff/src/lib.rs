//! Thread Hand-Off Manager: the protocol by which two sides never both run a thread.
