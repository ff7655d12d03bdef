//! A minimal server as a baseline: one thread, one epoll set, no parser, no clock, no deadlines. It sends the same bytes
//! after every read.
//!
//! `bare ADDRESS FILE` sends the content of the file.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// Event token of the listener; that of a client is its file descriptor.
const LISTENER: u64 = u64::MAX;

fn main() -> io::Result<()> {
    let [address, file] = std::env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .expect("bare ADDRESS FILE");
    let response = std::fs::read(file)?;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let (mut events, mut input) = (Vec::with_capacity(512), vec![0; 16 * 1024]);
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let token = { event.data }.u64();
            if token == LISTENER {
                let (client, _) = listener.accept()?;
                client.set_nodelay(true)?;
                client.set_nonblocking(true)?;
                let index = client.as_raw_fd() as usize;
                epoll::add(
                    &epoll,
                    &client,
                    EventData::new_u64(index as u64),
                    EventFlags::IN,
                )?;
                clients.resize_with(clients.len().max(index + 1), || None);
                clients[index] = Some(client);
            } else if !respond(clients[token as usize].as_mut(), &mut input, &response) {
                clients[token as usize] = None;
            }
        }
    }
}

/// Sends the response after a read. Returns whether the connection is still open.
fn respond(client: Option<&mut TcpStream>, input: &mut [u8], response: &[u8]) -> bool {
    let Some(client) = client else { return false };
    match client.read(input) {
        Ok(0) => false,
        Ok(_) => client.write_all(response).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
