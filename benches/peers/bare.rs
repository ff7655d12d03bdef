//! The least that a server can do: one thread and one set of sockets; no request is read, no clock, no deadline kept.
//! Whatever comes is answered with the same bytes. What another server costs beyond this is what it does.
//!
//! `bare ADDRESS FILE` answers what is in the file.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

const LISTENER: u64 = u64::MAX;

fn main() -> io::Result<()> {
    let [address, file] = std::env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .expect("bare ADDRESS FILE");
    let answer = std::fs::read(file)?;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &set,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let (mut events, mut input) = (Vec::with_capacity(512), vec![0; 16 * 1024]);
    loop {
        events.clear();
        epoll::wait(&set, spare_capacity(&mut events), None)?;
        for event in &events {
            let place = { event.data }.u64();
            if place == LISTENER {
                let (client, _) = listener.accept()?;
                client.set_nodelay(true)?;
                client.set_nonblocking(true)?;
                let place = client.as_raw_fd() as usize;
                epoll::add(
                    &set,
                    &client,
                    EventData::new_u64(place as u64),
                    EventFlags::IN,
                )?;
                clients.resize_with(clients.len().max(place + 1), || None);
                clients[place] = Some(client);
            } else if !respond(clients[place as usize].as_mut(), &mut input, &answer) {
                clients[place as usize] = None;
            }
        }
    }
}

/// Whether the client is still there.
fn respond(client: Option<&mut TcpStream>, input: &mut [u8], answer: &[u8]) -> bool {
    let Some(client) = client else { return false };
    match client.read(input) {
        Ok(0) => false,
        Ok(_) => client.write_all(answer).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
