//! Runtime of the connections to providers.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::process::BackgroundPriority;

/// Number of threads. A flood can occupy one; the kernel divides the processors among them.
const CONNECTION_THREADS: usize = 4;

/// Runtime of the tasks, sockets and timers of all connections. A flood at the speed of the loopback
/// keeps a connection task busy for up to a second per poll (hyper reads until its buffer is full,
/// tokio permits 128 reads), which would delay deadlines on the runtime of the flights.
pub(super) struct ConnectionRuntime(Option<Runtime>);

impl ConnectionRuntime {
    /// Starts the runtime. Panics if the system refuses a thread.
    pub(super) fn start() -> Self {
        let priority = BackgroundPriority::below_process();
        let runtime = Builder::new_multi_thread()
            .worker_threads(CONNECTION_THREADS)
            .thread_name("connections")
            .on_thread_start(move || priority.apply_to_current_thread())
            .enable_all()
            .build()
            .expect("the runtime of connections starts");
        Self(Some(runtime))
    }

    pub(super) fn handle(&self) -> &Handle {
        self.0
            .as_ref()
            .expect("the runtime runs until it is dropped")
            .handle()
    }
}

impl Drop for ConnectionRuntime {
    fn drop(&mut self) {
        // A plain drop of a runtime blocks, which panics within an asynchronous task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A future that the task of its caller polls, while its sockets, timers and tasks belong to the
/// runtime of connections.
pub(super) struct OnConnectionRuntime<F> {
    handle: Handle,
    work: Option<Pin<Box<F>>>,
}

impl<F: Future> OnConnectionRuntime<F> {
    pub(super) fn new(handle: Handle, work: F) -> Self {
        Self {
            handle,
            work: Some(Box::pin(work)),
        }
    }
}

impl<F: Future> Future for OnConnectionRuntime<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let _entered = this.handle.enter();
        match &mut this.work {
            Some(work) => work.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for OnConnectionRuntime<F> {
    fn drop(&mut self) {
        // Dropping a pooled connection with the future can spawn a task.
        let _entered = self.handle.enter();
        self.work.take();
    }
}
