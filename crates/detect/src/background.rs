//! Work that is done in other threads, such as encoding pictures.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use crossbeam_channel::{Sender, bounded};

use crate::Error;

type Job = Box<dyn FnOnce() -> Result<(), Error> + Send>;

/// Threads that do jobs in any order. At most one job per thread waits.
#[derive(Debug)]
pub(crate) struct Background {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Background {
    /// Starts `threads` threads, at least one.
    ///
    /// # Errors
    ///
    /// Fails if the operating system cannot start a thread.
    pub(crate) fn start(threads: usize) -> Result<Self, Error> {
        let threads = threads.max(1);
        let (sender, receiver) = bounded::<Job>(threads);
        let mut background = Self {
            jobs: Some(sender),
            threads: Vec::with_capacity(threads),
            failure: Arc::default(),
        };
        for index in 0..threads {
            let (receiver, failure) = (receiver.clone(), Arc::clone(&background.failure));
            let work = move || {
                for job in receiver {
                    if let Err(error) = done(job) {
                        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        failure.get_or_insert(error);
                    }
                }
            };
            let thread = std::thread::Builder::new().name(format!("writer-{index}"));
            let thread = thread.spawn(work);
            let thread = thread.map_err(|error| Error::Workers(error.to_string()))?;
            background.threads.push(thread);
        }
        Ok(background)
    }

    /// Does a job in a thread. Waits until one is free.
    ///
    /// # Errors
    ///
    /// The error of an earlier job.
    pub(crate) fn run(
        &self,
        job: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.failure()?;
        match &self.jobs {
            Some(jobs) if jobs.send(Box::new(job)).is_ok() => Ok(()),
            _ => Err(Error::Workers("all threads have stopped".to_owned())),
        }
    }

    /// Waits until all jobs are done.
    ///
    /// # Errors
    ///
    /// The error of the first job that failed.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.stop();
        self.failure()
    }

    fn stop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // Panics of jobs were caught.
            let _ = thread.join();
        }
    }

    fn failure(&self) -> Result<(), Error> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The result of a job. A panic, of which encoders are capable, is an error.
fn done(job: Job) -> Result<(), Error> {
    panic::catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
        let cause = "a thread that writes pictures panicked";
        Err(Error::Workers(cause.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_jobs_are_done_before_the_end() {
        let count = Arc::new(AtomicUsize::new(0));
        let background = Background::start(3).unwrap();
        for _ in 0..50 {
            let count = Arc::clone(&count);
            let job = move || {
                std::thread::sleep(std::time::Duration::from_micros(100));
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            background.run(job).unwrap();
        }
        background.finish().unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 50);
    }

    #[test]
    fn an_error_or_a_panic_is_returned_at_the_end() {
        let jobs: [fn() -> Result<(), Error>; 2] = [
            || Err(Error::Workers("disk full".to_owned())),
            || panic!("encoder"),
        ];
        for (job, cause) in jobs.into_iter().zip(["disk full", "panicked"]) {
            let background = Background::start(2).unwrap();
            background.run(job).unwrap();
            let error = background.finish().unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
        }
    }
}
