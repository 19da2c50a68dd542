//! How many bytes this process holds: an allocator that counts.

#![expect(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one hands everything on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static HELD: AtomicUsize = AtomicUsize::new(0);

/// The most that was held since it was last asked for, while somebody asks.
static PEAK: AtomicUsize = AtomicUsize::new(0);
static IS_ASKED: AtomicBool = AtomicBool::new(false);

fn more(size: usize) {
    let now = HELD.fetch_add(size, Ordering::Relaxed) + size;
    if IS_ASKED.load(Ordering::Relaxed) {
        PEAK.fetch_max(now, Ordering::Relaxed);
    }
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What glibc takes for an allocation: a header of 8 bytes, in steps of 16, at least 32.
const fn with_overhead(size: usize) -> usize {
    let chunk = (size + 8).next_multiple_of(16);
    if chunk < 32 { 32 } else { chunk }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(with_overhead(layout.size()));
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(with_overhead(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(with_overhead(size));
        HELD.fetch_sub(with_overhead(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise is the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What a piece of work returns, and the bytes held more after it than before.
pub(crate) fn held<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = HELD.load(Ordering::Relaxed);
    let done = work();
    let after = HELD.load(Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let more = after.saturating_sub(before) as f64;
    (done, more)
}

/// What a piece of work returns, and the most bytes that it held at once.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    IS_ASKED.store(true, Ordering::Relaxed);
    let done = work();
    IS_ASKED.store(false, Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let most = PEAK.load(Ordering::Relaxed).saturating_sub(before) as f64;
    (done, most)
}
