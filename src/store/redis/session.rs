//! The operations over one connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{FromRedisValue, RedisError, ScriptInvocation, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::domain::{Identity, Secrets, Time};

use super::super::shared::{
    Beat, Keys, LARGEST, Landing, Lease, Letter, Pending, SEEN_FOR, SharedError, SharedSession,
    Taken, Wish,
};
use super::address::Address;
use super::scripts::Scripts;
use super::{AT_ONCE, LIMIT, Line, said};

/// A connection that has been greeted.
pub(super) struct Session {
    pub(super) line: Line,
    pub(super) keys: Keys,
    pub(super) scripts: Arc<Scripts>,
    pub(super) address: Address,
    pub(super) secrets: Secrets,
    /// Few operations are under way at once: the others wait without a limit of their own, until one fails. A thousand
    /// sources due at once would otherwise use up each other's time.
    pub(super) turns: Mutex<Arc<Semaphore>>,
}

impl Session {
    async fn run<T: FromRedisValue>(
        &self,
        what: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, SharedError> {
        let turns = Arc::clone(&self.turns());
        let Ok(_turn) = turns.acquire().await else {
            return Err(self.told(what, "the one before has failed"));
        };
        let mut connection = self.line.connection.clone();
        let asked = timeout(LIMIT, script.invoke_async(&mut connection)).await;
        let value =
            said(&self.address, &self.secrets, what, asked).inspect_err(|_| self.let_go())?;
        self.line.allowance.renew();
        Ok(value)
    }

    fn turns(&self) -> MutexGuard<'_, Arc<Semaphore>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody goes on waiting for a turn.
    fn let_go(&self) {
        std::mem::replace(&mut *self.turns(), Arc::new(Semaphore::new(AT_ONCE))).close();
    }

    fn told(&self, what: &str, why: &str) -> SharedError {
        let message = format!("{what}: Redis at {}: {why}", self.address);
        SharedError(self.secrets.mask(&message).into())
    }

    fn strange(&self, what: &str) -> SharedError {
        self.told(what, "an answer that the script cannot give")
    }
}

impl SharedSession for Session {
    fn take<'s>(&'s self, wish: &'s Wish) -> Pending<'s, Taken> {
        Box::pin(async move {
            let mut script = self.scripts.take.prepare_invoke();
            script
                .key(self.keys.lease(wish.identity))
                .key(self.keys.letter(wish.identity));
            script
                .arg(&wish.token)
                .arg(millis(wish.span))
                .arg(wish.known.map_or(-1, Time::as_millis));
            script.arg(i32::from(wish.yields)).arg(LARGEST);
            let answer: Vec<Value> = self.run("take a lease", &script).await?;
            taken(answer).ok_or_else(|| self.strange("take a lease"))
        })
    }

    fn land<'s>(&'s self, landing: &'s Landing) -> Pending<'s, bool> {
        Box::pin(async move {
            let mut script = self.scripts.land.prepare_invoke();
            script
                .key(self.keys.lease(landing.identity))
                .key(self.keys.letter(landing.identity));
            script
                .arg(&landing.token)
                .arg(landing.stamp.as_millis())
                .arg(millis(landing.min_interval));
            script
                .arg(millis(landing.keep))
                .arg(self.keys.notices())
                .arg(landing.identity.to_string());
            script.arg(&landing.letter[..]);
            self.run("share a reading", &script).await
        })
    }

    fn free<'s>(&'s self, identity: Identity, token: &'s str) -> Pending<'s, ()> {
        Box::pin(async move {
            let mut script = self.scripts.free.prepare_invoke();
            script
                .key(self.keys.lease(identity))
                .arg(token)
                .arg(self.keys.notices())
                .arg(identity.to_string());
            self.run::<i64>("give a lease back", &script)
                .await
                .map(drop)
        })
    }

    fn read<'s>(&'s self, identities: &'s [Identity]) -> Pending<'s, Vec<Option<Letter>>> {
        Box::pin(async move {
            let mut script = self.scripts.read.prepare_invoke();
            for identity in identities {
                script.key(self.keys.letter(*identity));
            }
            script.arg(LARGEST);
            let found: Vec<Value> = self.run("read what others told", &script).await?;
            Ok(found.into_iter().map(letter).collect())
        })
    }

    fn beat<'s>(&'s self, replica: &'s str) -> Pending<'s, Beat> {
        Box::pin(async move {
            let mut script = self.scripts.beat.prepare_invoke();
            script
                .key(self.keys.replicas())
                .arg(replica)
                .arg(millis(SEEN_FOR));
            let (seconds, micros, replicas): (i64, i64, u32) =
                self.run("give a sign of life", &script).await?;
            Ok(Beat {
                micros: seconds.saturating_mul(1_000_000).saturating_add(micros),
                replicas,
            })
        })
    }
}

fn taken(answer: Vec<Value>) -> Option<Taken> {
    let mut answer = answer.into_iter();
    let kind: String = from(answer.next()?)?;
    match kind.as_str() {
        "granted" => Some(Taken::Granted),
        "told" => Some(Taken::Told(letter(answer.next()?)?)),
        "held" => Some(Taken::Held {
            lease: Lease::parse(&from::<String>(answer.next()?)?)?,
            left: Duration::from_millis(from(answer.next()?)?),
            letter: answer.next().and_then(letter),
        }),
        _ => None,
    }
}

fn letter(value: Value) -> Option<Letter> {
    match value {
        Value::BulkString(bytes) => Some(Letter::Bytes(bytes)),
        Value::Int(size) => Some(Letter::Oversize(size.unsigned_abs())),
        _ => None,
    }
}

fn from<T: FromRedisValue>(value: Value) -> Option<T> {
    let read: Result<T, RedisError> = redis::from_redis_value(value).map_err(Into::into);
    read.ok()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}
