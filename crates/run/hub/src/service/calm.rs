//! Work that has time: on a thread of its own that gives way to others, so that it does not slow down what is measured meanwhile.

use tokio::sync::oneshot;

/// About a tenth of what others get: on a host that is busy it is to come to its end too.
const NICE: i32 = 10;

/// Does it, and waits for it. `None` when it panicked, or no thread can be had.
pub(super) async fn calmly<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || {
        give_way();
        // Nobody waits any more when the campaign is over.
        let _ = done.send(work());
    });
    spawned.ok()?;
    result.await.ok()
}

/// Of the calling thread: on Linux that is what 0 stands for.
#[expect(unsafe_code, reason = "setpriority(2) has no safe wrapper")]
fn give_way() {
    // SAFETY: system calls on integers. Raising one's own number is always allowed.
    unsafe {
        let own = libc::getpriority(libc::PRIO_PROCESS, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, own.max(NICE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 19 of stat(5), in which a name without spaces is.
    fn nice() -> Option<i32> {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
        let (_, after) = stat.rsplit_once(')')?;
        after.split_whitespace().nth(16)?.parse().ok()
    }

    #[tokio::test]
    async fn work_is_done_with_little_urgency_and_nothing_else_is_touched() {
        let before = nice();
        let calm = before.map(|it| NICE.max(it));
        assert_eq!(calmly("calm", nice).await, Some(calm));
        assert_eq!(nice(), before);
        let lost: Option<()> = calmly("calm", || panic!("on purpose")).await;
        assert_eq!(lost, None);
    }
}
