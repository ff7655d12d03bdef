//! Requests with the token and the cookies of an authentication.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::domain::{AuthDefinition, AuthFieldError, Code, Failure, Name, Provider, Redactor};
use crate::extract::Extractor;
use crate::fetch::{Fetch, FetchContext, FetchError, FetchFuture, Payload};
use crate::process::Clock;

use super::authenticator::AuthDirectory;
use super::login_sender::LoginSender;
use super::login_state::Session;

/// Sends requests through another [`Fetch`]. Those that name an authentication wait for its session, and are repeated once
/// with another session after a 401 or 403, or a redirect of a session with cookies.
pub struct AuthorizedFetch {
    fetch: Arc<dyn Fetch>,
    directory: Arc<AuthDirectory>,
}

impl AuthorizedFetch {
    /// Returns a client that sends requests and logins through `fetch`. The values that logins give are redacted by
    /// `redactor`. `tracker` counts the logins in progress, so that the end of the program does not lose a refresh token.
    pub fn new(
        fetch: Arc<dyn Fetch>,
        extractor: Extractor,
        redactor: Redactor,
        clock: Clock,
        tracker: TaskTracker,
    ) -> Self {
        let sender = LoginSender {
            fetch: Arc::clone(&fetch),
            extractor,
            redactor,
            clock,
            tracker,
        };
        Self {
            fetch,
            directory: Arc::new(AuthDirectory::new(sender)),
        }
    }

    /// Replaces the authentications. Unchanged ones keep their sessions. Blocks on the token files of new ones.
    pub fn replace_auths(&self, auths: &[Arc<AuthDefinition>]) {
        self.directory.replace(auths);
    }

    async fn fetch_authorized(
        &self,
        name: &Name,
        provider: &Provider,
        context: FetchContext,
    ) -> Result<Payload, FetchError> {
        let auth = self.directory.find(name)?;
        let deadline = context.deadline;
        let session = auth.acquire_session(&self.directory, deadline).await?;
        let request = authorize_provider(name, provider, &session)?;
        let error = match self.fetch.fetch(&request, context.clone()).await {
            Err(error) if has_ended(&session, &error) => error,
            result => return result,
        };
        let renewed = auth.replace_session(&session, &self.directory, deadline);
        let Some(session) = renewed.await else {
            return Err(explain_refusal(error, name, provider, &session));
        };
        let session = session?;
        let request = authorize_provider(name, provider, &session)?;
        let result = self.fetch.fetch(&request, context).await;
        result.map_err(|error| explain_refusal(error, name, provider, &session))
    }
}

impl Fetch for AuthorizedFetch {
    fn fetch<'f>(&'f self, provider: &'f Provider, context: FetchContext) -> FetchFuture<'f> {
        match &provider.request.auth {
            None => self.fetch.fetch(provider, context),
            Some(name) => Box::pin(self.fetch_authorized(name, provider, context)),
        }
    }

    fn expect_call(&self, source: &Name, provider: &Provider, at: Instant) {
        self.fetch.expect_call(source, provider, at);
    }
}

/// Returns whether the refusal of a call with `session` may mean that the session has ended.
fn has_ended(session: &Session, error: &FetchError) -> bool {
    match error.refused.as_ref().map(|refused| refused.status) {
        Some(401 | 403) => true,
        // To the login page, where a web application expects a browser.
        Some(302 | 303 | 307) => !session.values.cookies.is_empty(),
        _ => false,
    }
}

/// Adds to a refusal that the request sent nothing of its session, if that is so: often `extract` names the token otherwise.
fn explain_refusal(
    mut error: FetchError,
    name: &Name,
    provider: &Provider,
    session: &Session,
) -> FetchError {
    if provider.request.is_without(&session.values) && has_ended(session, &error) {
        let message = format!(
            "{}; the login of `[auth.{name}]` gave no `token`, and the request refers to no other field by `${{auth.FIELD}}`",
            error.failure.message
        );
        error.failure.message = message.into();
    }
    error
}

/// Returns the provider with the session in its request.
fn authorize_provider(
    name: &Name,
    provider: &Provider,
    session: &Session,
) -> Result<Provider, Failure> {
    let authorized = provider.request.authorize(&session.values);
    let request = authorized.map_err(|error| {
        let message = match error {
            AuthFieldError::Missing(field) => {
                format!("the login of `[auth.{name}]` gave no field `{field}`")
            }
            AuthFieldError::DotSegment(field) => format!(
                "the login of `[auth.{name}]` gave a field `{field}` that is `.` or `..`: it would change the path of the URL"
            ),
        };
        Failure::new(Code::AuthFailed, message).with_lasting(true)
    })?;
    Ok(Provider {
        request,
        ..provider.clone()
    })
}
