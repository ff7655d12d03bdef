//! One authentication: its session, the calls that wait for it, and the task of its login.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::timeout_at;
use tracing::warn;

use crate::domain::{AuthDefinition, AuthValues, Code, Failure, Name};
use crate::process::Deadline;
use crate::text::{UnitStyle, format_duration};

use super::login_result::{LoginFailure, LoginSuccess};
use super::login_sender::{LoginSender, login_failure};
use super::login_state::{LoginState, LoginStep, RejectionStep, Session};
use super::token_file::TokenFile;

/// Name of the field with the token of a refresh request.
const REFRESH_FIELD: &str = "refresh_token";

/// The authentications of the configuration, and what their logins use.
pub(super) struct AuthDirectory {
    pub(super) sender: LoginSender,
    by_name: RwLock<HashMap<Name, Arc<Authenticator>>>,
}

impl AuthDirectory {
    pub(super) fn new(sender: LoginSender) -> Self {
        Self {
            sender,
            by_name: RwLock::default(),
        }
    }

    /// Replaces the authentications. Those with an equal definition keep their sessions. Blocks on the files of new ones.
    pub(super) fn replace(&self, definitions: &[Arc<AuthDefinition>]) {
        let old = self.by_name.read().clone();
        let keep_or_create = |definition: &Arc<AuthDefinition>| {
            let old = old.get(&definition.name);
            let kept = old.filter(|old| old.definition == *definition).cloned();
            kept.unwrap_or_else(|| {
                Arc::new(Authenticator::new(Arc::clone(definition), &self.sender))
            })
        };
        let replaced = definitions
            .iter()
            .map(|definition| (definition.name.clone(), keep_or_create(definition)));
        *self.by_name.write() = replaced.collect();
    }

    pub(super) fn find(&self, name: &Name) -> Result<Arc<Authenticator>, Failure> {
        let found = self.by_name.read().get(name).cloned();
        found.ok_or_else(|| {
            let message = format!("there is no `[auth.{name}]`");
            Failure::new(Code::AuthFailed, message).with_lasting(true)
        })
    }
}

/// An authentication and its session.
pub(super) struct Authenticator {
    definition: Arc<AuthDefinition>,
    token_file: Option<Arc<TokenFile>>,
    state: Mutex<LoginState>,
    /// What the next refresh request is sent with: the values of the last login, if they have a refresh token. Only the
    /// login in progress changes it.
    refresh_values: Mutex<Option<AuthValues>>,
    /// Changes at the end of each login.
    login_ended: watch::Sender<()>,
}

impl Authenticator {
    fn new(definition: Arc<AuthDefinition>, sender: &LoginSender) -> Self {
        let token_file = definition.token_file.as_deref().map(TokenFile::new);
        let stored = token_file
            .as_ref()
            .and_then(|file| stored_token(&definition, file, file.read_blocking()));
        let refresh_values = stored.map(refresh_values);
        if let Some(values) = &refresh_values {
            sender.redact_values(&definition.name, values);
        }
        Self {
            definition,
            token_file,
            state: Mutex::default(),
            refresh_values: Mutex::new(refresh_values),
            login_ended: watch::Sender::default(),
        }
    }

    /// Returns the session, after a login if there is none or if it is due.
    pub(super) async fn acquire_session(
        self: &Arc<Self>,
        directory: &Arc<AuthDirectory>,
        deadline: Deadline,
    ) -> Result<Session, Failure> {
        // Before the first step: no end of a login is missed between the step and the wait.
        let mut login_ended = self.login_ended.subscribe();
        loop {
            login_ended.mark_unchanged();
            let step = self
                .state
                .lock()
                .next_step(directory.sender.clock.instant());
            match step {
                LoginStep::Use(session) => return Ok(session),
                LoginStep::Start => self.spawn_login(directory),
                LoginStep::Wait => {
                    let ended = timeout_at(deadline.at, login_ended.changed()).await;
                    ended.map_err(|_| self.late_failure(deadline)).map(drop)?;
                }
                LoginStep::Fail(failure, pause) => {
                    let seconds = Duration::from_secs(pause.as_secs() + 1);
                    let pause = format_duration(seconds, UnitStyle::Message);
                    let message = format!("{}; the next login is in {pause}", failure.message);
                    return Err(Failure::new(failure.code, message).with_lasting(true));
                }
            }
        }
    }

    /// Returns a session after a provider rejected `rejected`. `None` if no renewal is due: the call keeps its
    /// failure.
    pub(super) async fn replace_session(
        self: &Arc<Self>,
        rejected: &Session,
        directory: &Arc<AuthDirectory>,
        deadline: Deadline,
    ) -> Option<Result<Session, Failure>> {
        let now = directory.sender.clock.instant();
        if self.state.lock().report_rejection(rejected.number, now) == RejectionStep::Renew {
            match self.acquire_session(directory, deadline).await {
                Ok(session) if session.number == rejected.number => {}
                result => return Some(result),
            }
        }
        // The login is what must be repaired, not the call.
        self.state.lock().last_failure().cloned().map(Err)
    }

    /// Starts the login. A function of its own, because a login can wait for that of another authentication.
    fn spawn_login(self: &Arc<Self>, directory: &Arc<AuthDirectory>) {
        let (auth, own_directory) = (Arc::clone(self), Arc::clone(directory));
        let login: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { auth.run_login(&own_directory).await });
        directory.sender.tracker.spawn(login);
    }

    async fn run_login(&self, directory: &Arc<AuthDirectory>) {
        // Recorded on drop: also after a panic, the next call can start another login.
        let mut outcome = LoginOutcome {
            auth: self,
            directory,
            result: None,
        };
        let result = self.log_in(directory).await;
        if let Ok(success) = &result {
            let sender = &directory.sender;
            sender.redact_values(&self.definition.name, &success.values);
            // Before the first call with the session: a crash must not lose the only valid refresh token.
            self.store_refresh_values(&success.values).await;
        }
        outcome.result = Some(result);
    }

    /// Sends the refresh request, if there is a token for it, else or after its rejection the login. Each request has a
    /// deadline of its own.
    async fn log_in(&self, directory: &Arc<AuthDirectory>) -> Result<LoginSuccess, LoginFailure> {
        let sender = &directory.sender;
        let outer = self.outer_session(directory).await?;
        let outer_values = outer.as_ref().map(|(_, session)| &*session.values);
        let outer_values = outer_values.cloned().unwrap_or_default();
        if let Some(result) = self.refresh_session(sender, &outer_values).await {
            return result;
        }
        let login = &self.definition.login;
        let deadline = sender.clock.deadline(self.definition.timeout);
        let result = sender
            .send(&self.definition, login, &outer_values, deadline)
            .await;
        if let (Err(failure), Some((auth, session))) = (&result, outer)
            && failure.is_unauthorized()
        {
            // The next login finds a renewed session. This one is not repeated: it counts as failed.
            let now = sender.clock.instant();
            auth.state.lock().report_rejection(session.number, now);
        }
        result
    }

    /// Sends the refresh request. `None` if the login is to be sent instead.
    async fn refresh_session(
        &self,
        sender: &LoginSender,
        outer_values: &AuthValues,
    ) -> Option<Result<LoginSuccess, LoginFailure>> {
        let refresh = self.definition.refresh.as_ref()?;
        // The second time with the token of another program, such as `once` beside the service.
        for is_first in [true, false] {
            let own = self.refresh_values.lock().clone()?;
            let values = own.or_inherit(outer_values);
            let deadline = sender.clock.deadline(self.definition.timeout);
            let result = sender
                .send(&self.definition, refresh, &values, deadline)
                .await;
            let failure = match result {
                Ok(mut success) => {
                    // What the answer does not repeat stays valid (RFC 6749, section 6).
                    success.values = success.values.or_inherit(&own);
                    return Some(Ok(success));
                }
                Err(failure) => failure,
            };
            if !failure.is_token_rejected() {
                // The token may still be valid: it is kept. Servers exist that answer an invalid one with another status,
                // so that the login follows when the request fails again.
                let is_repeated = self.state.lock().last_failure().is_some();
                return (failure.is_postponed() || !is_repeated).then_some(Err(failure));
            }
            let other = if is_first {
                self.read_other_token(&own).await
            } else {
                None
            };
            let values = other.map(|token| refresh_values(token).or_inherit(&own));
            if let Some(values) = &values {
                sender.redact_values(&self.definition.name, values);
            }
            *self.refresh_values.lock() = values;
        }
        None
    }

    /// Returns the token in `token_file` if it is not that of `own`.
    async fn read_other_token(&self, own: &AuthValues) -> Option<Arc<str>> {
        let file = self.token_file.as_ref()?;
        let token = stored_token(&self.definition, file, file.read().await)?;
        (own.field(REFRESH_FIELD) != Some(&token)).then_some(token)
    }

    /// Returns the session of the authentication that the login itself needs.
    async fn outer_session(
        &self,
        directory: &Arc<AuthDirectory>,
    ) -> Result<Option<(Arc<Self>, Session)>, LoginFailure> {
        let Some(name) = &self.definition.login.request.auth else {
            return Ok(None);
        };
        let deadline = directory.sender.clock.deadline(self.definition.timeout);
        let session = async {
            let auth = directory.find(name)?;
            let session = auth.acquire_session(directory, deadline).await?;
            Ok((auth, session))
        };
        session.await.map(Some).map_err(|failure: Failure| {
            LoginFailure::new(login_failure(&self.definition, &failure.message), false)
        })
    }

    /// Keeps the values for the next refresh request, and their token in `token_file`.
    async fn store_refresh_values(&self, values: &AuthValues) {
        if self.definition.refresh.is_none() {
            return;
        }
        let token = values.field(REFRESH_FIELD).cloned();
        *self.refresh_values.lock() = token.is_some().then(|| values.clone());
        let (Some(file), Some(token)) = (&self.token_file, token) else {
            return;
        };
        if let Err(error) = file.write(token).await {
            let path = file.path().display();
            warn!(auth = %self.definition.name, %path, %error, "token file not written");
        }
    }

    fn late_failure(&self, deadline: Deadline) -> Failure {
        let limit = format_duration(deadline.limit, UnitStyle::Message);
        let name = &self.definition.name;
        let message =
            format!("no answer within {limit} (waiting for the login of `[auth.{name}]`)");
        Failure::new(Code::Timeout, message)
    }
}

/// Returns the token that was `read` from its file. An error is logged.
fn stored_token(
    definition: &AuthDefinition,
    file: &TokenFile,
    read: io::Result<Option<Arc<str>>>,
) -> Option<Arc<str>> {
    read.unwrap_or_else(|error| {
        let path = file.path().display();
        warn!(auth = %definition.name, %path, %error, "token file not read");
        None
    })
}

/// Returns the values of a refresh request of which only the token is known.
fn refresh_values(token: Arc<str>) -> AuthValues {
    AuthValues {
        fields: vec![(REFRESH_FIELD.into(), token)],
        cookies: Vec::new(),
    }
}

/// The outcome of a login, which is recorded on drop.
struct LoginOutcome<'a> {
    auth: &'a Authenticator,
    directory: &'a AuthDirectory,
    /// `None` if the login did not end.
    result: Option<Result<LoginSuccess, LoginFailure>>,
}

impl Drop for LoginOutcome<'_> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| {
            let failure = login_failure(&self.auth.definition, "it was interrupted");
            Err(LoginFailure::new(failure, true))
        });
        let now = self.directory.sender.clock.instant();
        self.auth.state.lock().finish_login(result, now);
        self.auth.login_ended.send_replace(());
    }
}
