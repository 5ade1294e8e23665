//! Which scenario threads are to run and iterate when, and whether thresholds hold.
