//! Connecting to the first address that answers (RFC 8305): families take turns, a failure starts the next address at
//! once, silence starts it a little later, the first connection wins and the others are dropped.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::domain::{Code, Failure};

/// More addresses of one name than this are not tried.
const MAX_ADDRESSES: usize = 16;

/// How long an address may be silent before the next is tried beside it, at most.
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

type ConnectAttempt = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send>>;

/// Connects to one of `addresses`, trying each within `left`.
pub(crate) async fn connect_first(
    addresses: &[IpAddr],
    port: u16,
    left: Duration,
) -> Result<TcpStream, Failure> {
    let mut waiting: VecDeque<SocketAddr> = interleave_families(addresses)
        .map(|ip| SocketAddr::new(ip, port))
        .collect();
    // With little time left, the last address still gets half of it.
    let patience = CONNECTION_ATTEMPT_DELAY.min(left / (2 * waiting.len().max(1) as u32));
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
            tokio::time::timeout(patience, next).await
        };
        match ended {
            Ok((_, Ok(stream))) => {
                // Requests are small and whole; waiting to fill a packet only delays them.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok((address, Err(error))) => failed.push((address, error)),
            Err(_silence) => {}
        }
    }
}

/// The first of the running attempts to end.
async fn first_finished(running: &mut Vec<ConnectAttempt>) -> (SocketAddr, io::Result<TcpStream>) {
    let mut one = pin!(poll_fn(|cx: &mut Context<'_>| {
        for index in 0..running.len() {
            if let Poll::Ready(ended) = running[index].as_mut().poll(cx) {
                drop(running.swap_remove(index));
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    }));
    one.as_mut().await
}

/// Both families by turns, the lookup's first address first.
fn interleave_families(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut one, mut other): (VecDeque<IpAddr>, VecDeque<IpAddr>) = addresses
        .iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    std::iter::from_fn(move || {
        std::mem::swap(&mut one, &mut other);
        other.pop_front().or_else(|| one.pop_front())
    })
    .take(MAX_ADDRESSES)
}

/// The most telling of the failures: a refusal shows that the host is there.
fn select_failure(failed: &[(SocketAddr, io::Error)]) -> Failure {
    let of = |kind| failed.iter().find(|(_, error)| error.kind() == kind);
    let others = if failed.len() > 1 {
        format!(" (the best of {} addresses)", failed.len())
    } else {
        String::new()
    };
    if let Some((address, _)) = of(io::ErrorKind::ConnectionRefused) {
        return Failure::new(
            Code::ConnectRefused,
            format!("{address} refused the connection{others}"),
        );
    }
    // A port that nobody listens on refuses; a reset comes from one who had accepted, before we looked.
    if let Some((address, _)) = of(io::ErrorKind::ConnectionReset) {
        let what = format!(
            "the connection broke (connection reset) as soon as {address} had accepted it{others}"
        );
        return Failure::new(Code::ConnectionClosed, what);
    }
    if let Some((address, _)) = of(io::ErrorKind::TimedOut) {
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

/// The system's words, without its number.
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
