//! What a key leaves behind on the stack. Heap places are wiped by their owners (`zeroize`), but a value that is
//! moved leaves its bytes in the frame it came from, and safe Rust has no name for those. So the stack below is
//! written over once the work with the key is done.

use zeroize::Zeroize as _;

/// More than any call here reaches down with a key in its hands; Argon2's and the cipher's frames are small.
const DEPTH: usize = 64 * 1024;

/// Does it, and wipes the stack that it used. What it gives back is on the heap, or no secret.
pub(crate) fn scrubbed<T>(work: impl FnOnce() -> T) -> T {
    let result = apart(work);
    wipe_below();
    result
}

/// In frames of its own, which lie below the caller's.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe_below() {
    let mut frame = [0_u8; DEPTH];
    // Written for real: the compiler may not know that nobody reads it.
    frame.zeroize();
    std::hint::black_box(&frame);
}
