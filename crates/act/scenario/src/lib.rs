//! Scenario threads: k6 scripts as machines that ask for what they need, and the journal of the answers.
