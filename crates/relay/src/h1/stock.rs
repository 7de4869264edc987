//! Buffers, kept for each thread: a connection that waits holds none.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;

use crate::nearby::Wire;

/// Room for a head.
pub(crate) const SMALL: usize = 4 * 1024;
/// Room for what one read of a long body may bring.
pub(crate) const LARGE: usize = 256 * 1024;
/// Left at the end of a buffer, it is worth a read.
const WORTH: usize = 2 * 1024;

/// How many are kept: 256 KiB of the small ones, and of the large ones what a few bodies that
/// stream at once need.
const SMALL_KEPT: usize = 64;
const LARGE_KEPT: usize = 4;
/// How many are waited for of which somebody still holds a part.
const LENT_KEPT: usize = 16;

#[derive(Default)]
struct Stock {
    small: Vec<BytesMut>,
    large: Vec<BytesMut>,
    lent: Vec<BytesMut>,
}

impl Stock {
    /// Keeps it, or drops it if there are enough. It comes back if somebody may still hold a
    /// part of it.
    fn put(&mut self, mut buffer: BytesMut) -> Option<BytesMut> {
        if buffer.try_reclaim(LARGE) {
            if self.large.len() < LARGE_KEPT && buffer.capacity() <= 2 * LARGE {
                self.large.push(buffer);
            }
        } else if buffer.capacity() <= 2 * SMALL && buffer.try_reclaim(SMALL) {
            if self.small.len() < SMALL_KEPT {
                self.small.push(buffer);
            }
        } else {
            return Some(buffer);
        }
        None
    }

    fn pop(&mut self, large: bool) -> Option<BytesMut> {
        if large {
            self.large.pop()
        } else {
            self.small.pop()
        }
    }
}

thread_local! {
    static STOCK: RefCell<Stock> = RefCell::default();
}

/// An empty buffer with room for `room` bytes, but no more than [`LARGE`].
pub(crate) fn take(room: usize) -> BytesMut {
    let large = room > SMALL;
    STOCK.with_borrow_mut(|stock| {
        if let Some(buffer) = stock.pop(large) {
            return buffer;
        }
        // Whatever is still not free now is left to those who hold it.
        while let Some(buffer) = stock.lent.pop() {
            stock.put(buffer);
        }
        let size = if large { LARGE } else { SMALL };
        stock
            .pop(large)
            .unwrap_or_else(|| BytesMut::with_capacity(size))
    })
}

/// Takes a buffer back; it is used again once nobody holds a part of it.
pub(crate) fn give(mut buffer: BytesMut) {
    if buffer.capacity() > 0 {
        buffer.clear();
        STOCK.with_borrow_mut(|stock| {
            if let Some(lent) = stock.put(buffer)
                && stock.lent.len() < LENT_KEPT
            {
                stock.lent.push(lent);
            }
        });
    }
}

/// Room for the next read into a buffer that has `length` unused bytes already.
pub(crate) fn more(length: usize) -> usize {
    if length < SMALL { SMALL } else { LARGE }
}

/// Reads once into `buffer`, which gets room for `room` bytes if it has little left, and gives it
/// back if it stays empty. Ready with 0: nothing more will come.
pub(crate) fn poll_fill(
    wire: &mut Wire,
    buffer: &mut BytesMut,
    room: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let room = room.min(LARGE);
    let left = buffer.capacity() - buffer.len();
    if left < room {
        if buffer.is_empty() {
            give(mem::replace(buffer, take(room)));
        } else if left < WORTH {
            buffer.reserve(room);
        }
    }
    let read = pin!(wire.read_buf(buffer)).poll(cx);
    if buffer.is_empty() {
        give(mem::take(buffer));
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_once_nobody_holds_a_part_of_it() {
        let mut buffer = take(SMALL);
        buffer.extend_from_slice(b"head and rest");
        let head = buffer.split_to(4).freeze();
        let at = head.as_ptr();
        drop(head);
        give(buffer);
        let mut again = take(1);
        again.extend_from_slice(b"x");
        assert_eq!(again.as_ptr(), at);

        let held = again.split_to(1).freeze();
        give(again);
        let mut other = take(1);
        other.extend_from_slice(b"y");
        assert_ne!(other.as_ptr(), held.as_ptr());
        assert_eq!(held, "x");
    }

    #[test]
    fn no_more_is_kept_than_is_worth_it() {
        for _ in 0..3 * SMALL_KEPT {
            let many: Vec<BytesMut> = (0..SMALL_KEPT + 9).map(|_| take(LARGE)).collect();
            many.into_iter().for_each(give);
        }
        STOCK.with_borrow(|stock| assert_eq!(stock.large.len(), LARGE_KEPT));
    }
}
