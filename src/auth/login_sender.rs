//! Sends the request of a login or a refresh, and reads its answer.

use std::sync::Arc;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use tokio_util::task::TaskTracker;

use crate::domain::{
    AuthDefinition, AuthFieldError, AuthRequest, AuthValues, BodyFormat, Code, Failure, Name,
    Provider, Redactor,
};
use crate::extract::Extractor;
use crate::fetch::{CallPriority, Fetch, FetchContext, FetchError, Payload};
use crate::process::{Clock, Deadline};

use super::login_answer::{LoginFields, NamedValue, describe_answer, parse_cookies, parse_fields};
use super::login_result::{LoginFailure, LoginSuccess};

/// What every login uses.
pub(super) struct LoginSender {
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) extractor: Extractor,
    pub(super) redactor: Redactor,
    pub(super) clock: Clock,
    /// Counts the logins in progress.
    pub(super) tracker: TaskTracker,
}

/// Why an answer is not a session.
struct UnusableAnswer(String);

impl LoginSender {
    /// Sends `request` with `values` in place of its references, and returns the session of its answer.
    pub(super) async fn send(
        &self,
        definition: &AuthDefinition,
        request: &AuthRequest,
        values: &AuthValues,
        deadline: Deadline,
    ) -> Result<LoginSuccess, LoginFailure> {
        let failed = |why: &str, may_have_counted| {
            LoginFailure::new(login_failure(definition, why), may_have_counted)
        };
        let authorized = request.request.authorize(values);
        let authorized = authorized.map_err(|error| {
            let why = match error {
                AuthFieldError::Missing(name) => format!("`${{auth.{name}}}` has no value"),
                AuthFieldError::DotSegment(name) => {
                    format!(
                        "`${{auth.{name}}}` is `.` or `..`, which would change the path of the URL"
                    )
                }
            };
            failed(&why, false)
        })?;
        let provider = Provider {
            name: definition.name.clone(),
            request: authorized,
            extract: ".".into(),
        };
        let priority = CallPriority::default();
        // Calls of sources wait for it.
        priority.mark_urgent();
        let sent_at = self.clock.instant();
        let context = FetchContext {
            priority,
            ..FetchContext::from(deadline)
        };
        let (fields, cookies) = match self.fetch.fetch(&provider, context).await {
            Ok(payload) => self
                .read_answer(definition, request, payload, deadline)
                .await
                .map_err(|UnusableAnswer(why)| failed(&why, true))?,
            Err(error) => self
                .accept_empty_answer(definition, request, &error)
                .ok_or_else(|| failed_request(definition, &error))?,
        };
        let values = AuthValues {
            fields: fields.fields,
            cookies,
        };
        Ok(LoginSuccess {
            sent_at,
            values,
            lifetime: fields.lifetime,
        })
    }

    /// Makes the values of a login secrets: before the first request with them is sent.
    pub(super) fn redact_values(&self, name: &Name, values: &AuthValues) {
        let secrets = values.secrets().flat_map(|value| {
            // A provider may echo the decoded value.
            let decoded = percent_decode_str(value).decode_utf8_lossy();
            [value.to_owned(), decoded.into_owned()]
        });
        self.redactor.add_login(name.as_str(), secrets.collect());
    }

    async fn read_answer(
        &self,
        definition: &AuthDefinition,
        request: &AuthRequest,
        payload: Payload,
        deadline: Deadline,
    ) -> Result<(LoginFields, Vec<NamedValue>), UnusableAnswer> {
        let cookies = self.session_cookies(definition, &payload.set_cookies);
        let Some(extract) = &request.extract else {
            return if cookies.is_empty() {
                Err(UnusableAnswer("its answer sets no cookie".into()))
            } else {
                Ok((LoginFields::default(), cookies))
            };
        };
        let unusable = |error: &str| UnusableAnswer(error.to_owned());
        let filter = self.extractor.compile_filter(extract);
        let filter = filter.map_err(|error| unusable(&error.message))?;
        let body = payload.raw_body(&request.request.format);
        let extracted = self
            .extractor
            .extract_body(&definition.name.login_key(), &filter, &body, deadline)
            .await;
        let describe = |why: &str| {
            UnusableAnswer(why.to_owned() + &describe_answer(&body.bytes, &self.redactor))
        };
        // The message of the failure is not shown: it can quote a token of the answer.
        let data = extracted.map_err(|failure| match failure.code {
            Code::ExtractFailed => describe("`extract` finds no fields in its answer"),
            Code::ExtractTimeout => unusable("`extract` did not end in time"),
            _ if body.format == BodyFormat::Json
                && body.bytes.trim_ascii_start().starts_with(b"<") =>
            {
                unusable("its answer is HTML or XML, not JSON: a login page?")
            }
            _ if body.format == BodyFormat::Json => unusable("its answer is not JSON"),
            _ => unusable("its answer is not of its `format`"),
        })?;
        let fields = parse_fields(data.as_json()).map_err(|why| describe(&why))?;
        Ok((fields, cookies))
    }

    /// Returns the cookies of a response without a body, or of a redirect: both are usual answers of login forms. `None`
    /// if fields are wanted or the response is a refusal.
    fn accept_empty_answer(
        &self,
        definition: &AuthDefinition,
        request: &AuthRequest,
        error: &FetchError,
    ) -> Option<(LoginFields, Vec<NamedValue>)> {
        let refused = error.refused.as_ref()?;
        let is_login = matches!(
            refused.status,
            200 | 201 | 204 | 205 | 301..=303 | 307 | 308
        );
        let cookies = self.session_cookies(definition, &refused.set_cookies);
        let is_session = is_login && request.extract.is_none() && !cookies.is_empty();
        is_session.then(|| (LoginFields::default(), cookies))
    }

    fn session_cookies(
        &self,
        definition: &AuthDefinition,
        values: &[http::HeaderValue],
    ) -> Vec<NamedValue> {
        if !definition.keeps_cookies {
            return Vec::new();
        }
        parse_cookies(values, self.clock.wall_time())
    }
}

/// Returns the failure of a login, with the name of its authentication.
pub(super) fn login_failure(definition: &AuthDefinition, why: &str) -> Failure {
    let message = format!("the login of `[auth.{}]` failed: {why}", definition.name);
    Failure::new(Code::AuthFailed, message).with_lasting(true)
}

/// Returns the failure of a login without a usable response.
fn failed_request(definition: &AuthDefinition, error: &FetchError) -> LoginFailure {
    let status = error.refused.as_ref().map(|refused| refused.status);
    let is_gateway_error = status.is_some_and(|status| {
        let gateway_errors = [
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        gateway_errors.iter().any(|known| known.as_u16() == status)
    });
    let is_unreached = matches!(
        error.failure.code,
        Code::DnsFailed
            | Code::ConnectRefused
            | Code::ConnectTimeout
            | Code::ConnectFailed
            | Code::TlsFailed
            | Code::DestinationBlocked
    );
    let is_unsent = is_unreached || error.is_permit_timeout;
    LoginFailure {
        failure: login_failure(definition, &error.failure.message),
        // A server that closes or is silent may have counted the attempt.
        may_have_counted: !is_gateway_error && !is_unsent,
        status,
        retry_after: error.retry_after,
    }
}
