//! What every store must do: one suite, run on all of them.
