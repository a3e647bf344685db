//! The policy on failures: whether the failures of a task stop it.

use dtf_model::Counts;
use dtf_model::plugin::OnFailure;

/// The fewest counted subtasks before a share of failures can stop a task.
const FEW: u64 = 10;

/// Returns the reason to stop the task, if its failures so far are too many.
pub(crate) fn too_many_failures(counts: &Counts, policy: OnFailure) -> Option<String> {
    let failed = counts.failed + counts.timed_out;
    let counted = counts.counted();
    match policy {
        OnFailure::StopAtFirst if failed > 0 => {
            Some("a subtask failed, and the task type stops at the first".to_owned())
        }
        OnFailure::StopAbove(share) if counted >= FEW && failed as f64 > share * counted as f64 => {
            Some(format!("{failed} of {counted} subtasks failed, and the task type stops above {share}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_stop_a_task_as_its_type_says() {
        let counts = |succeeded, failed| Counts { succeeded, failed, ..Counts::default() };
        assert_eq!(too_many_failures(&counts(1, 100), OnFailure::GoOn), None);
        assert!(too_many_failures(&counts(100, 1), OnFailure::StopAtFirst).is_some());
        assert_eq!(too_many_failures(&counts(100, 0), OnFailure::StopAtFirst), None);
        assert_eq!(too_many_failures(&counts(0, 9), OnFailure::StopAbove(0.5)), None);
        assert!(too_many_failures(&counts(4, 6), OnFailure::StopAbove(0.5)).is_some());
        assert_eq!(too_many_failures(&counts(5, 5), OnFailure::StopAbove(0.5)), None);
    }
}
