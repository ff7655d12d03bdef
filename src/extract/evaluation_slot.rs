//! Evaluation slot of a source: one evaluation at a time, and a record of an abandoned one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use crate::domain::Code;
use crate::process::Deadline;
use crate::text::format_duration;

use super::error::ExtractError;

/// Evaluation slot of one source.
#[derive(Debug)]
pub(super) struct EvaluationSlot {
    /// One permit, held by the evaluating thread, not by the request that waits for it.
    pub(super) permit: Arc<Semaphore>,
    /// Number of the latest evaluation, counted from 1.
    pub(super) current_evaluation: AtomicU64,
    /// Number of the evaluation that was last abandoned; 0 if none was.
    abandoned: AtomicU64,
}

impl Default for EvaluationSlot {
    fn default() -> Self {
        Self {
            permit: Arc::new(Semaphore::new(1)),
            current_evaluation: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
        }
    }
}

impl EvaluationSlot {
    /// Returns whether the running evaluation was abandoned.
    pub(super) fn is_abandoned(&self) -> bool {
        let abandoned = self.abandoned.load(Ordering::Acquire);
        abandoned != 0
            && abandoned == self.current_evaluation.load(Ordering::Acquire)
            && self.permit.available_permits() == 0
    }

    /// Marks `evaluation` as abandoned and returns the error of its request.
    pub(super) fn abandon(&self, evaluation: u64, deadline: Deadline) -> ExtractError {
        self.abandoned.fetch_max(evaluation, Ordering::AcqRel);
        ExtractError::new(
            Code::ExtractTimeout,
            format!(
                "the filter did not end within the attempt's {}",
                format_duration(deadline.limit)
            ),
        )
    }
}
