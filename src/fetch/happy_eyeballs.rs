//! Happy Eyeballs (RFC 8305): connects to the first address that accepts. Address families
//! alternate. The next address is started at once after a failure, or after a delay; the first
//! connection is returned and the others are dropped.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::domain::{Code, Failure};

/// Maximum number of addresses to try.
const MAX_ADDRESSES: usize = 16;

/// Maximum delay before the next address is tried in parallel (RFC 8305, section 5).
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

type ConnectAttempt = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send>>;

/// Connects to one of `addresses`; `remaining` is the time until the deadline.
pub(super) async fn connect_first(
    addresses: &[IpAddr],
    port: u16,
    remaining: Duration,
) -> Result<TcpStream, Failure> {
    let mut waiting: VecDeque<SocketAddr> = interleave_families(addresses)
        .map(|ip| SocketAddr::new(ip, port))
        .collect();
    // Shorter near the deadline, so that the last address still has half of the remaining time.
    let delay = CONNECTION_ATTEMPT_DELAY.min(remaining / (2 * waiting.len().max(1) as u32));
    let mut running: Vec<ConnectAttempt> = Vec::new();
    let mut failed: Vec<(SocketAddr, io::Error)> = Vec::new();
    loop {
        match waiting.pop_front() {
            Some(address) => running.push(Box::pin(async move {
                (address, TcpStream::connect(address).await)
            })),
            None if running.is_empty() => return Err(select_failure(&failed)),
            None => {}
        }
        let next = first_finished(&mut running);
        let ended = if waiting.is_empty() {
            Ok(next.await)
        } else {
            tokio::time::timeout(delay, next).await
        };
        match ended {
            Ok((_, Ok(stream))) => {
                // A request is written in one piece; Nagle's algorithm would only delay it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok((address, Err(error))) => failed.push((address, error)),
            Err(_elapsed) => {}
        }
    }
}

/// Waits for the first of the running attempts to finish, and removes it.
async fn first_finished(running: &mut Vec<ConnectAttempt>) -> (SocketAddr, io::Result<TcpStream>) {
    let mut first = pin!(poll_fn(|cx: &mut Context<'_>| {
        for index in 0..running.len() {
            if let Poll::Ready(ended) = running[index].as_mut().poll(cx) {
                drop(running.swap_remove(index));
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    }));
    first.as_mut().await
}

/// Returns the addresses with alternating families, the first one first.
fn interleave_families(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut next, mut after): (VecDeque<IpAddr>, VecDeque<IpAddr>) = addresses
        .iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    std::iter::from_fn(move || {
        std::mem::swap(&mut next, &mut after);
        after.pop_front().or_else(|| next.pop_front())
    })
    .take(MAX_ADDRESSES)
}

/// Returns the most specific failure: a refusal, which shows that the host is up, then a reset,
/// then a timeout.
fn select_failure(failed: &[(SocketAddr, io::Error)]) -> Failure {
    let find = |kind| failed.iter().find(|(_, error)| error.kind() == kind);
    let others = if failed.len() > 1 {
        format!(" (the best of {} addresses)", failed.len())
    } else {
        String::new()
    };
    if let Some((address, _)) = find(io::ErrorKind::ConnectionRefused) {
        return Failure::new(
            Code::ConnectRefused,
            format!("{address} refused the connection{others}"),
        );
    }
    // A closed port refuses. A reset comes from a host that had accepted the connection.
    if let Some((address, _)) = find(io::ErrorKind::ConnectionReset) {
        let what = format!(
            "the connection broke (connection reset) as soon as {address} had accepted it{others}"
        );
        return Failure::new(Code::ConnectionClosed, what);
    }
    if let Some((address, _)) = find(io::ErrorKind::TimedOut) {
        return Failure::new(
            Code::ConnectTimeout,
            format!("{address} did not answer while connecting{others}"),
        );
    }
    let Some((address, error)) = failed.first() else {
        return Failure::new(Code::ConnectFailed, "there is no address to connect to");
    };
    Failure::new(
        Code::ConnectFailed,
        format!(
            "connecting to {address} failed: {}{others}",
            system_reason(error)
        ),
    )
}

/// Returns the text of a system error without its number.
fn system_reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_differs_from_refusal() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let code = |kinds: &[io::ErrorKind]| {
            let failed: Vec<_> = kinds
                .iter()
                .map(|kind| (address, io::Error::from(*kind)))
                .collect();
            select_failure(&failed).code
        };
        assert_eq!(
            code(&[io::ErrorKind::ConnectionReset]),
            Code::ConnectionClosed
        );
        assert_eq!(
            code(&[
                io::ErrorKind::ConnectionReset,
                io::ErrorKind::ConnectionRefused
            ]),
            Code::ConnectRefused
        );
        assert_eq!(code(&[io::ErrorKind::HostUnreachable]), Code::ConnectFailed);
    }

    #[test]
    fn address_families_alternate() {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().unwrap())
                .collect::<Vec<IpAddr>>()
        };
        let order =
            interleave_families(&parse(&["::1", "::2", "::3", "1.1.1.1"])).collect::<Vec<_>>();
        assert_eq!(order, parse(&["::1", "1.1.1.1", "::2", "::3"]));
        let order = interleave_families(&parse(&["1.1.1.1", "2.2.2.2", "::1"])).collect::<Vec<_>>();
        assert_eq!(order, parse(&["1.1.1.1", "::1", "2.2.2.2"]));
        assert_eq!(
            interleave_families(&vec![IpAddr::from([1, 1, 1, 1]); 1000]).count(),
            MAX_ADDRESSES
        );
    }
}
