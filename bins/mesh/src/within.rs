//! A future with a time limit.

use std::time::Duration;

use smol::{Timer, future};

/// The result of the work; `None` if it takes longer than the limit, and it is dropped.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(limit).await;
        None
    };
    future::or(async { Some(work.await) }, late).await
}
