//! Tokens and sessions: `[auth.NAME]`.
//!
//! [`AuthorizedFetch`] is a [`Fetch`](crate::fetch::Fetch) around another one. It adds the token and the cookies of
//! its authentication to a request that names one, and repeats the request once with a renewed session after a refusal that may mean its end.
//!
//! | file | contains |
//! |---|---|
//! | `authorized_fetch` | the repetition of refused calls; the authentications by name |
//! | `authenticator` | one authentication: its waiters and the task of its login |
//! | `login_state` | when to log in, to wait, to renew and to give up: pure, with `now` given |
//! | `login_result` | the session or the failure of a login, and what the failure means for a token |
//! | `login_sender` | sends the request of a login or a refresh |
//! | `login_answer` | fields and cookies of an answer |
//! | `token_file` | keeps a refresh token over restarts |
//!
//! A login is a task of its own: it outlives the call that needed it. Tokens and cookies stay in memory; only the
//! refresh token is stored, and only in `token_file`.

mod authenticator;
mod authorized_fetch;
mod login_answer;
mod login_result;
mod login_sender;
mod login_state;
mod token_file;

pub use authorized_fetch::AuthorizedFetch;
