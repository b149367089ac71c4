//! An ordered map over worker threads.

use std::collections::BTreeMap;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::panics;

/// The number of results per worker that may be computed ahead.
const PREFETCH_PER_WORKER: usize = 2;

/// Why a job has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError<E> {
    /// The job returned an error.
    #[error("job {job}: {source}")]
    Failed {
        /// The index of the job.
        job: usize,
        /// The error.
        source: E,
    },
    /// The job panicked.
    #[error("job {job} panicked: {message}")]
    Panicked {
        /// The index of the job.
        job: usize,
        /// The message of the panic.
        message: String,
    },
}

type Outcome<T, E> = Result<T, LoaderError<E>>;
type Work<T, E> = dyn Fn(usize) -> Result<T, E> + Send + Sync;

/// An iterator over the results of the jobs `0..len`, in order, computed ahead on worker threads.
///
/// At most two results per worker wait to be taken, so memory is bounded even if the consumer is slow. A job that fails
/// or panics yields an error in its place; later jobs continue. Dropping the loader waits for the running jobs and
/// joins its threads.
///
/// ```
/// use fcos_burn_data::Loader;
/// let squares = Loader::new(4, 2, |job| Ok::<_, std::io::Error>(job * job))?;
/// assert_eq!(squares.map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 4, 9]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Loader<T, E> {
    work: Arc<Work<T, E>>,
    len: usize,
    next: usize,
    pool: Option<Pool<T, E>>,
}

impl<T, E> Loader<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    /// Starts `workers` threads on the jobs `0..len`. With 0 workers, each job runs on the calling thread when its
    /// result is requested.
    ///
    /// # Errors
    ///
    /// Fails if the operating system cannot start a thread.
    pub fn new<F>(len: usize, workers: usize, work: F) -> std::io::Result<Self>
    where
        F: Fn(usize) -> Result<T, E> + Send + Sync + 'static,
    {
        let work: Arc<Work<T, E>> = Arc::new(work);
        let pool = match workers.min(len) {
            0 => None,
            workers => Some(Pool::start(workers, &work)?),
        };
        Ok(Self {
            work,
            len,
            next: 0,
            pool,
        })
    }
}

impl<T, E> Iterator for Loader<T, E> {
    type Item = Outcome<T, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.len {
            return None;
        }
        let job = self.next;
        self.next += 1;
        Some(match &mut self.pool {
            None => run(self.work.as_ref(), job),
            Some(pool) => pool.take(job, self.len),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.len - self.next;
        (left, Some(left))
    }
}

impl<T, E> ExactSizeIterator for Loader<T, E> {}
impl<T, E> FusedIterator for Loader<T, E> {}

/// Worker threads and results that arrived out of order.
struct Pool<T, E> {
    /// `None` once the pool is closing: workers stop when the queue is empty and disconnected.
    jobs: Option<Sender<usize>>,
    queued: Receiver<usize>,
    results: Receiver<(usize, Outcome<T, E>)>,
    early: BTreeMap<usize, Outcome<T, E>>,
    submitted: usize,
    prefetch: usize,
    workers: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static, E: Send + 'static> Pool<T, E> {
    fn start(workers: usize, work: &Arc<Work<T, E>>) -> std::io::Result<Self> {
        let (jobs, queued) = unbounded();
        let (done, results) = unbounded();
        let mut pool = Self {
            jobs: Some(jobs),
            queued,
            results,
            early: BTreeMap::new(),
            submitted: 0,
            prefetch: workers * PREFETCH_PER_WORKER,
            workers: Vec::with_capacity(workers),
        };
        for index in 0..workers {
            let (queued, done, work) = (pool.queued.clone(), done.clone(), Arc::clone(work));
            let serve = move || {
                for job in queued {
                    if done.send((job, run(work.as_ref(), job))).is_err() {
                        break;
                    }
                }
            };
            pool.workers.push(
                std::thread::Builder::new()
                    .name(format!("loader-{index}"))
                    .spawn(serve)?,
            );
        }
        Ok(pool)
    }
}

impl<T, E> Pool<T, E> {
    fn take(&mut self, job: usize, len: usize) -> Outcome<T, E> {
        while self.submitted < len.min(job + self.prefetch) {
            if self
                .jobs
                .as_ref()
                .is_none_or(|jobs| jobs.send(self.submitted).is_err())
            {
                break;
            }
            self.submitted += 1;
        }
        loop {
            if let Some(outcome) = self.early.remove(&job) {
                return outcome;
            }
            match self.results.recv() {
                Ok((done, outcome)) => {
                    self.early.insert(done, outcome);
                }
                // Unreachable, since `run` catches panics. An error is better than waiting forever.
                Err(_) => {
                    return Err(LoaderError::Panicked {
                        job,
                        message: "all workers have stopped".into(),
                    });
                }
            }
        }
    }
}

impl<T, E> Drop for Pool<T, E> {
    fn drop(&mut self) {
        self.jobs = None;
        while self.queued.try_recv().is_ok() {}
        for worker in self.workers.drain(..) {
            // Panics were reported as errors of their jobs.
            let _ = worker.join();
        }
    }
}

fn run<T, E>(work: &Work<T, E>, job: usize) -> Outcome<T, E> {
    match panics::catch(|| work(job)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(LoaderError::Failed { job, source }),
        Err(message) => Err(LoaderError::Panicked { job, message }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use rand::{Rng, RngExt};

    use super::*;
    use crate::sample_rng;

    #[test]
    fn samples_do_not_depend_on_the_number_of_workers() {
        let draw = |workers| -> Vec<u64> {
            let loader = Loader::new(40, workers, |job| {
                let mut rng = sample_rng(3, 1, job);
                std::thread::sleep(Duration::from_micros(rng.random_range(0..500)));
                Ok::<_, ()>(rng.next_u64())
            });
            loader.unwrap().map(Result::unwrap).collect()
        };
        let expected = draw(0);
        for workers in [1, 2, 5] {
            assert_eq!(draw(workers), expected, "{workers} workers");
        }
    }

    #[test]
    fn errors_and_panics_name_the_job_and_later_jobs_continue() {
        for workers in [0, 3] {
            let loader = Loader::new(6, workers, |job| match job {
                2 => Err("broken"),
                4 => panic!("job four"),
                _ => Ok(job),
            });
            let outcomes: Vec<_> = loader.unwrap().collect();
            assert_eq!(outcomes.len(), 6);
            assert!(matches!(
                outcomes[2],
                Err(LoaderError::Failed {
                    job: 2,
                    source: "broken"
                })
            ));
            let Err(LoaderError::Panicked { job: 4, message }) = &outcomes[4] else {
                panic!("{:?}", outcomes[4])
            };
            assert_eq!(message, "job four");
            assert!(
                [0, 1, 3, 5]
                    .into_iter()
                    .all(|job| matches!(outcomes[job], Ok(value) if value == job))
            );
        }
    }

    #[test]
    fn prefetch_is_bounded_and_an_early_drop_joins_the_threads() {
        let started = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&started);
        let mut loader = Loader::new(10_000, 2, move |job| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, ()>(job)
        })
        .unwrap();
        assert_eq!(loader.next().unwrap().unwrap(), 0);
        std::thread::sleep(Duration::from_millis(20));
        assert!(started.load(Ordering::SeqCst) <= 2 * PREFETCH_PER_WORKER);
        assert_eq!(loader.len(), 9_999);
        drop(loader);
        assert_eq!(
            Arc::strong_count(&started),
            1,
            "a thread still holds its work"
        );
    }
}
