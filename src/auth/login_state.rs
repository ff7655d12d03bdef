//! When an authentication logs in, waits, renews its session and gives up. Pure: the current time is a parameter.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{AuthValues, Failure};

use super::login_result::{LoginFailure, LoginSuccess};

/// Pauses after failed logins that the server may have counted; the last one repeats. At most 6 logins in an hour follow.
const COUNTED_PAUSES: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
];

/// Pause after the first login that did not reach its server; each further one doubles it.
const FIRST_UNREACHED_PAUSE: Duration = Duration::from_secs(5);

/// Maximum pause after a login that did not reach its server.
const MAX_UNREACHED_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Minimum time between two renewals because of rejected sessions. A call can be refused for another reason than its token.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Minimum time from the end of a login until its session is due for renewal, whatever its lifetime: a lifetime shorter
/// than the login itself must not start one login after the other.
const MIN_USE: Duration = Duration::from_secs(1);

/// The longest lifetime of a session that is counted; a longer one is renewed when a call is refused.
const MAX_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A session and its number.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Number of the login that gave the session, from 1.
    pub(super) number: u64,
    pub(super) values: Arc<AuthValues>,
}

/// What a call does next.
#[derive(Debug)]
pub(super) enum LoginStep {
    /// Sends its request with this session.
    Use(Session),
    /// Starts a login, and asks again.
    Start,
    /// Waits for the end of the running login, and asks again.
    Wait,
    /// Fails: the login failed, and the next one is not due for this time.
    Fail(Failure, Duration),
}

/// What a call does whose session was rejected by its provider.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RejectionStep {
    /// Waits for another session, and repeats its request.
    Renew,
    /// Keeps its failure.
    GiveUp,
}

/// The state of an authentication.
#[derive(Debug, Default)]
pub(super) struct LoginState {
    session: Option<CurrentSession>,
    /// Number of logins that succeeded.
    login_count: u64,
    is_running: bool,
    /// When a rejected session last caused a renewal.
    renewed_at: Option<Instant>,
    /// Failed logins in a row that the server may have counted.
    counted_failures: usize,
    /// Failed logins in a row that did not reach the server.
    unreached_failures: u32,
    next_login_at: Option<Instant>,
    last_failure: Option<Failure>,
}

#[derive(Debug)]
struct CurrentSession {
    session: Session,
    renew_at: Option<Instant>,
    ends_at: Option<Instant>,
    /// Whether a provider rejected it: it is used only as long as no login succeeds.
    is_rejected: bool,
}

impl LoginState {
    /// Returns what a call does next. After [`LoginStep::Start`] the login runs until [`Self::finish_login`].
    pub(super) fn next_step(&mut self, now: Instant) -> LoginStep {
        let has_passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let current = self.session.as_ref();
        let current = current.filter(|current| !has_passed(current.ends_at));
        let is_due =
            current.is_none_or(|current| current.is_rejected || has_passed(current.renew_at));
        let pause = self
            .next_login_at
            .map(|at| at.saturating_duration_since(now))
            .filter(|pause| !pause.is_zero());
        match current {
            _ if is_due && !self.is_running && pause.is_none() => {
                self.is_running = true;
                LoginStep::Start
            }
            // A session that is renewed ahead of its end is valid meanwhile.
            Some(current) if !(current.is_rejected && self.is_running) => {
                LoginStep::Use(current.session.clone())
            }
            _ if self.is_running => LoginStep::Wait,
            _ => LoginStep::Fail(self.failure(), pause.unwrap_or_default()),
        }
    }

    /// Returns what a call does whose session of this number was rejected.
    pub(super) fn report_rejection(&mut self, number: u64, now: Instant) -> RejectionStep {
        let Some(current) = &mut self.session else {
            return RejectionStep::Renew;
        };
        if current.session.number != number {
            return RejectionStep::Renew;
        }
        let is_recent = |at: Instant| now.saturating_duration_since(at) < RENEWAL_INTERVAL;
        // Once per session: it stays rejected until a login succeeds.
        if current.is_rejected || self.renewed_at.is_some_and(is_recent) {
            return RejectionStep::GiveUp;
        }
        current.is_rejected = true;
        self.renewed_at = Some(now);
        RejectionStep::Renew
    }

    /// Records the end of the running login.
    pub(super) fn finish_login(
        &mut self,
        result: Result<LoginSuccess, LoginFailure>,
        now: Instant,
    ) {
        self.is_running = false;
        match result {
            Ok(success) => self.begin_session(success, now),
            Err(failure) => self.schedule_next_login(failure, now),
        }
    }

    /// Returns the cause of the last failed login, if no login has succeeded since.
    pub(super) fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    fn begin_session(&mut self, success: LoginSuccess, now: Instant) {
        self.login_count += 1;
        let lifetime = success.lifetime.map(|lifetime| lifetime.min(MAX_LIFETIME));
        // Those who waited for the session use it once, although it may have ended meanwhile.
        let end_at = |age: Duration| (success.sent_at + age).max(now + MIN_USE);
        self.session = Some(CurrentSession {
            session: Session {
                number: self.login_count,
                values: Arc::new(success.values),
            },
            // Nine tenths of the lifetime.
            renew_at: lifetime.map(|lifetime| end_at(lifetime / 10 * 9)),
            ends_at: lifetime.map(end_at),
            is_rejected: false,
        });
        (self.counted_failures, self.unreached_failures) = (0, 0);
        (self.next_login_at, self.last_failure) = (None, None);
    }

    fn schedule_next_login(&mut self, failed: LoginFailure, now: Instant) {
        let pause = if failed.may_have_counted {
            let pause = COUNTED_PAUSES[self.counted_failures.min(COUNTED_PAUSES.len() - 1)];
            self.counted_failures += 1;
            pause
        } else {
            let doubled = 2_u32.saturating_pow(self.unreached_failures);
            self.unreached_failures = self.unreached_failures.saturating_add(1);
            FIRST_UNREACHED_PAUSE
                .saturating_mul(doubled)
                .min(MAX_UNREACHED_PAUSE)
        };
        let pause = pause.max(failed.retry_after.unwrap_or_default());
        self.next_login_at = Some(now + pause);
        self.last_failure = Some(failed.failure);
    }

    fn failure(&self) -> Failure {
        self.last_failure
            .clone()
            .unwrap_or_else(|| Failure::new(crate::domain::Code::AuthFailed, "there is no session"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Code;
    use crate::process::Clock;

    fn success(at: Instant, lifetime: Option<u64>) -> LoginSuccess {
        LoginSuccess {
            sent_at: at,
            values: AuthValues::default(),
            lifetime: lifetime.map(Duration::from_secs),
        }
    }

    fn failure(may_have_counted: bool) -> Result<LoginSuccess, LoginFailure> {
        Err(LoginFailure::new(
            Failure::new(Code::AuthFailed, "no"),
            may_have_counted,
        ))
    }

    /// A step as text: a session is its number.
    fn step(state: &mut LoginState, at: Instant) -> String {
        match state.next_step(at) {
            LoginStep::Use(session) => session.number.to_string(),
            LoginStep::Start => "start".into(),
            LoginStep::Wait => "wait".into(),
            LoginStep::Fail(_, pause) => format!("fail {}", pause.as_secs()),
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The times in seconds at which calls that come every second start logins that end with `result`.
    fn login_times(result: impl Fn(u64) -> Result<LoginSuccess, LoginFailure>) -> Vec<u64> {
        let start = Clock::start().instant();
        let mut state = LoginState::default();
        let mut times = Vec::new();
        for second in 0..3600 {
            let now = start + seconds(second);
            // Ten sources.
            for _ in 0..10 {
                if step(&mut state, now) == "start" {
                    times.push(second);
                    state.finish_login(result(second), now);
                }
            }
        }
        times
    }

    #[test]
    fn refused_logins_cannot_lead_to_a_ban() {
        let times = login_times(|_| failure(true));
        assert_eq!(times, [0, 60, 360, 1260, 2160, 3060]);
        let unreached = login_times(|_| failure(false));
        assert_eq!(unreached[..8], [0, 5, 15, 35, 75, 155, 315, 615]);
        let asked_to_wait = login_times(|_| {
            let failed = failure(true).unwrap_err();
            Err(LoginFailure {
                retry_after: Some(seconds(900)),
                ..failed
            })
        });
        assert_eq!(asked_to_wait, [0, 900, 1800, 2700]);
    }

    #[test]
    fn short_lifetimes_do_not_repeat_logins() {
        let start = Clock::start().instant();
        let mut state = LoginState::default();
        assert_eq!(step(&mut state, start), "start");
        // The login takes longer than its session lives.
        let end = start + seconds(3);
        state.finish_login(Ok(success(start, Some(1))), end);
        for millis in [0, 1, 500, 999] {
            let now = end + Duration::from_millis(millis);
            assert_eq!(step(&mut state, now), "1", "{millis}");
        }
        assert_eq!(step(&mut state, end + seconds(1)), "start");
    }

    #[test]
    fn session_is_renewed_ahead_of_its_end() {
        let start = Clock::start().instant();
        let mut state = LoginState::default();
        assert_eq!(step(&mut state, start), "start");
        assert_eq!(step(&mut state, start), "wait");
        state.finish_login(Ok(success(start, Some(100))), start);
        assert_eq!(step(&mut state, start + seconds(89)), "1");
        // The session stays valid while the renewal runs, and after it failed.
        assert_eq!(step(&mut state, start + seconds(90)), "start");
        assert_eq!(step(&mut state, start + seconds(90)), "1");
        state.finish_login(failure(true), start + seconds(90));
        assert_eq!(step(&mut state, start + seconds(99)), "1");
        assert_eq!(step(&mut state, start + seconds(100)), "fail 50");
        assert_eq!(step(&mut state, start + seconds(150)), "start");
        state.finish_login(Ok(success(start, None)), start + seconds(151));
        assert_eq!(step(&mut state, start + seconds(1_000_000)), "2");
        assert!(state.last_failure().is_none());
    }

    /// A state with a session without a known end.
    fn logged_in(start: Instant) -> LoginState {
        let mut state = LoginState::default();
        assert_eq!(step(&mut state, start), "start");
        state.finish_login(Ok(success(start, None)), start);
        state
    }

    #[test]
    fn endless_lifetimes_do_not_overflow() {
        let start = Clock::start().instant();
        let mut state = LoginState::default();
        step(&mut state, start);
        let endless = LoginSuccess {
            lifetime: Some(Duration::MAX),
            ..success(start, None)
        };
        state.finish_login(Ok(endless), start);
        assert_eq!(step(&mut state, start + seconds(86_400)), "1");
    }

    #[test]
    fn rejected_session_renews_once_in_ten_minutes() {
        let start = Clock::start().instant();
        let mut state = logged_in(start);
        assert_eq!(state.report_rejection(1, start), RejectionStep::Renew);
        // Another call with the same session joins the renewal.
        assert_eq!(step(&mut state, start), "start");
        assert_eq!(step(&mut state, start), "wait");
        state.finish_login(Ok(success(start, None)), start);
        assert_eq!(state.report_rejection(1, start), RejectionStep::Renew);
        assert_eq!(step(&mut state, start), "2");
        let later = start + seconds(599);
        assert_eq!(state.report_rejection(2, later), RejectionStep::GiveUp);
        assert_eq!(step(&mut state, later), "2");
        let later = start + seconds(600);
        assert_eq!(state.report_rejection(2, later), RejectionStep::Renew);
    }

    #[test]
    fn failed_renewal_keeps_the_session() {
        let start = Clock::start().instant();
        let mut state = logged_in(start);
        assert_eq!(state.report_rejection(1, start), RejectionStep::Renew);
        assert_eq!(step(&mut state, start), "start");
        state.finish_login(failure(true), start);
        // A source that the server still lets in goes on; the others report the failed login.
        assert_eq!(step(&mut state, start + seconds(59)), "1");
        assert_eq!(
            state.report_rejection(1, start + seconds(59)),
            RejectionStep::GiveUp
        );
        assert!(state.last_failure().is_some());
        assert_eq!(step(&mut state, start + seconds(60)), "start");
    }
}
