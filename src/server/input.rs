//! Reading from a client. An idle connection must never hold a buffer: ten thousand of them are nothing unusual.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

/// How much is read at once.
pub(super) const READ_BYTES: usize = 16 * 1024;

thread_local! {
    static ARRIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Reads what has come, 0 for the end. What is read passes through a buffer that a thread's connections share: one of its own
/// would be most of what an idle connection costs.
pub(super) async fn read_more(from: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> std::io::Result<usize> {
    poll_fn(|context| {
        ARRIVED.with_borrow_mut(|arrived| {
            let mut arrived = ReadBuf::new(arrived);
            ready!(Pin::new(&mut *from).poll_read(context, &mut arrived))?;
            input.extend_from_slice(arrived.filled());
            Poll::Ready(Ok(arrived.filled().len()))
        })
    })
    .await
}
