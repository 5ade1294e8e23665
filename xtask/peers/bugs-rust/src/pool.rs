//! Threads that wait for work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads, and a queue.
pub struct Pool {
    jobs: Sender<Job>,
    idle: Arc<AtomicUsize>,
}

impl Pool {
    /// Starts so many threads.
    pub fn start(threads: usize) -> Pool {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let idle = Arc::new(AtomicUsize::new(0));
        for _ in 0..threads {
            let (queue, idle) = (Arc::clone(&queue), Arc::clone(&idle));
            thread::spawn(move || work(&queue, &idle));
        }
        Pool { jobs, idle }
    }

    /// Has it done by one of them.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        // Threads live as long as the pool.
        let _ = self.jobs.send(Box::new(job));
    }

    /// How many wait for work.
    pub fn idle(&self) -> usize {
        self.idle.load(Ordering::SeqCst)
    }
}

fn work(queue: &Mutex<Receiver<Job>>, idle: &AtomicUsize) {
    loop {
        idle.fetch_add(1, Ordering::SeqCst);
        let job = queue.lock().expect("not poisoned").recv();
        idle.fetch_sub(1, Ordering::SeqCst);
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_done() {
        let pool = Pool::start(2);
        let (sum, parts) = mpsc::channel();
        for part in 0..10 {
            let sum = sum.clone();
            pool.submit(move || sum.send(part).expect("somebody waits"));
        }
        assert_eq!(parts.iter().take(10).sum::<i32>(), 45);
    }

    #[test]
    fn a_pool_without_work_is_idle() {
        let pool = Pool::start(3);
        let (done, ends) = mpsc::channel();
        for job in 0..24 {
            let done = done.clone();
            pool.submit(move || done.send(job).expect("somebody waits"));
            assert_eq!(ends.recv(), Ok(job));
        }
        thread::sleep(std::time::Duration::from_millis(1));
        assert_eq!(pool.idle(), 3, "threads that wait for work");
    }
}
