//! Redis, or Valkey, as the store that replicas share. The only place that names the `redis` crate.
//!
//! One connection carries everything: the scripts and their answers, and what is told to all replicas (RESP3 pushes).
//! So notices come in the order in which Redis did things, and one sign of life proves the whole. There is no manager
//! that reconnects behind our back: a session that failed once is over, and whoever opened it opens another.

mod address;
mod link;
mod scripts;
mod session;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, RedisConnectionInfo, RedisError};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::domain::{Secrets, spell};

use super::shared::{Keys, Notice, Opened, Pending, SharedError, SharedStore};

use address::Address;
use link::{Allowance, Link};
use scripts::Scripts;
use session::Session;

/// The most that any call of Redis may take.
const LIMIT: Duration = Duration::from_millis(200);

/// How many operations are under way at once at most.
const AT_ONCE: usize = 32;

/// How often a clock is compared.
const MEASUREMENTS: usize = 4;

/// The most characters of what Redis says that stand in a message.
const QUOTE: usize = 120;

/// A Redis that may be there or not.
pub struct RedisStore {
    address: Address,
    info: RedisConnectionInfo,
    keys: Keys,
    scripts: Arc<Scripts>,
    secrets: Secrets,
}

/// A connection, the task that drives it, and what may still come over it.
struct Line {
    connection: MultiplexedConnection,
    allowance: Allowance,
    _driver: AbortOnDropHandle<()>,
}

impl RedisStore {
    /// The Redis at a URL that the configuration has checked; keys begin with `prefix`, messages never hold `secrets`.
    pub fn new(url: &str, prefix: &str, secrets: Secrets) -> Option<Self> {
        let (address, info) = address::parse(url)?;
        Some(Self {
            address,
            info,
            keys: Keys::new(prefix),
            scripts: Arc::new(Scripts::new()),
            secrets,
        })
    }

    /// By how many milliseconds its clock is ahead of this one: of a few measurements, the one that took least.
    pub async fn ahead_of(&self, clock: Clock) -> Result<i64, SharedError> {
        let (notices, _) = unbounded_channel();
        let mut line = self.dial(notices).await?;
        let mut best: Option<(Duration, i64)> = None;
        for _ in 0..MEASUREMENTS {
            let before = clock.mark();
            let time = redis::cmd("TIME");
            let asked = timeout(LIMIT, time.query_async::<(i64, i64)>(&mut line.connection)).await;
            let (seconds, micros) = self.said("tell the time", asked)?;
            let took = clock.since(before);
            let middle = before.time.after(took / 2).as_millis();
            let ahead = seconds
                .saturating_mul(1000)
                .saturating_add(micros / 1000)
                .saturating_sub(middle);
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, ahead));
            }
        }
        Ok(best.map_or(0, |(_, ahead)| ahead))
    }

    /// Connects and says who we are.
    async fn dial(&self, notices: UnboundedSender<Notice>) -> Result<Line, SharedError> {
        let linked = timeout(LIMIT, Link::connect(&self.address)).await;
        let linked = linked.map(|linked| linked.map_err(RedisError::from));
        let (link, allowance) = self.said("connect", linked)?;
        // Nothing is kept of what cannot be a notice.
        let hear = move |push: PushInfo| {
            let notice = redis::Msg::from_push_info(push)
                .and_then(|message| Notice::parse(message.get_payload_bytes()));
            notice.map_or(Ok(()), |notice| notices.send(notice))
        };
        let config = AsyncConnectionConfig::new()
            .set_push_sender(hear)
            .set_response_timeout(None);
        let shaken = timeout(
            LIMIT,
            MultiplexedConnection::new_with_config(&self.info, link, config),
        )
        .await;
        let (connection, driver) = self.said("greet", shaken)?;
        let driver = AbortOnDropHandle::new(tokio::runtime::Handle::current().spawn(driver));
        Ok(Line {
            connection,
            allowance,
            _driver: driver,
        })
    }

    /// Connects, listens to what is told to all replicas, and proves that it can be written to.
    async fn opened(&self) -> Result<Opened, SharedError> {
        let (sender, notices) = unbounded_channel();
        let mut line = self.dial(sender).await?;
        let subscribed = timeout(LIMIT, line.connection.subscribe(self.keys.notices())).await;
        self.said("subscribe", subscribed)?;
        let session = Session {
            line,
            keys: self.keys.clone(),
            scripts: Arc::clone(&self.scripts),
            address: self.address.clone(),
            secrets: self.secrets.clone(),
            turns: Mutex::new(Arc::new(Semaphore::new(AT_ONCE))),
        };
        Ok(Opened {
            session: Arc::new(session),
            notices,
        })
    }

    fn said<T>(
        &self,
        what: &str,
        result: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
    ) -> Result<T, SharedError> {
        said(&self.address, &self.secrets, what, result)
    }
}

impl SharedStore for RedisStore {
    fn open(&self) -> Pending<'_, Opened> {
        Box::pin(self.opened())
    }
}

/// What became of a call of Redis, as people read it.
fn said<T>(
    address: &Address,
    secrets: &Secrets,
    what: &str,
    result: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
) -> Result<T, SharedError> {
    let why = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => quote(&error.to_string()),
        Err(_) => format!("no answer within {}", spell(LIMIT)),
    };
    let message = format!("{what}: Redis at {address}: {why}");
    Err(SharedError(secrets.mask(&message).into()))
}

/// The beginning of what somebody else says, made harmless.
fn quote(foreign: &str) -> String {
    let short: String = foreign.chars().take(QUOTE).collect();
    let dots = if foreign.chars().nth(QUOTE).is_some() {
        "…"
    } else {
        ""
    };
    format!("{}{dots}", short.escape_debug())
}
