//! Fuzzes whole sequences of commands: several clients of a real server that keeps its keys in memory, on a clock that the
//! input moves. Each request must get exactly one reply, a frame of the protocol that its client speaks; the server
//! must go on; and a panic of any of its threads ends the run.

#![no_main]

mod calls;
mod client;
mod server;

use std::sync::{LazyLock, Mutex, PoisonError};

use libfuzzer_sys::fuzz_target;

use calls::{Input, Step};
use client::Client;
use server::Server;

/// The most steps of one input: more of them find nothing that fewer would not.
const STEPS_MAX: usize = 64;

/// Starting one takes longer than most inputs.
static SERVER: LazyLock<Mutex<Server>> = LazyLock::new(|| Mutex::new(Server::start()));

fuzz_target!(|input: Input<'_>| {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    server.start_afresh();
    let mut clients: [Client; 3] = std::array::from_fn(|_| server.connect());
    for step in input.steps.into_iter().take(STEPS_MAX) {
        match step {
            Step::Call { client, call } => {
                let words = call.words(clients[client.index()].cursor());
                if calls::may_kill(&words) {
                    clients.iter_mut().for_each(Client::expect_the_worst);
                }
                clients[client.index()].call_unless_slow(&words);
            }
            Step::Read { client } => clients[client.index()].read_replies(),
            Step::Reconnect { client } => clients[client.index()] = server.connect(),
            Step::Raw { client, bytes } => {
                let client = &mut clients[client.index()];
                client.send_and_close(bytes);
                *client = server.connect();
            }
            Step::Wait { time } => server.advance_ms(time.ms()),
        }
    }
    for client in &mut clients {
        client.read_replies();
        client.check_in_step();
    }
});
