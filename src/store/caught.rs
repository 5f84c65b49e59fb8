//! What a library may panic over, such as a file that somebody else has written to: here it is an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Does it; none if it panicked. Whoever asks says what that means: the panic itself is no news.
pub(super) fn catch<T>(act: impl FnOnce() -> T) -> Option<T> {
    let before = CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(act));
    CAUGHT.set(before);
    done.ok()
}

/// Whether a panic of this thread would be caught, and told of as an error.
pub fn is_caught() -> bool {
    CAUGHT.get()
}
