//! A limit to how long something may take.

use std::time::Duration;

use smol::{Timer, future};

/// What comes of the work; `None` if it takes longer than the limit. It is dropped then.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(limit).await;
        None
    };
    future::or(async { Some(work.await) }, late).await
}
