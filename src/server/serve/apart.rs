//! Requests that take long: a script that is no matter of moments runs on a thread of its own, and its connection waits for
//! it as it waits for the database. Its thread's other connections never do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Connection;
use crate::app::LongRun;
use crate::commands::execute::{self, Step};
use crate::keyspace::Tickets;
use crate::protocol::{Reply, Request};

/// What a command answers whose thread ended before it did.
const LOST: &str = "ERR internal error: the command was lost";

impl Connection {
    /// Runs a request that takes long on a thread that nobody else needs; this thread's other connections go on.
    pub(super) async fn run_apart(&mut self, request: Request) {
        let Some(run) = self.app.scripts.begin_long_run().await else {
            let reply = execute::busy(&self.app, &mut self.client);
            return self.hold(reply, Tickets::new());
        };
        let run = Arc::new(run);
        loop {
            let (reply, tickets) = match self.step_apart(&request, &run).await {
                Step::Done(reply, tickets) => (reply, tickets),
                Step::Load(keys) => match self.load(keys).await {
                    Ok(()) => continue,
                    Err(reply) => (reply, Tickets::new()),
                },
                Step::Wait(_) | Step::Apart => (Reply::Error(LOST.to_owned()), Tickets::new()),
            };
            return self.hold(reply, tickets);
        }
    }

    async fn step_apart(&mut self, request: &Request, run: &Arc<LongRun>) -> Step {
        let stand_in = self.client.stand_in(&self.app.users);
        let mut client = std::mem::replace(&mut self.client, stand_in);
        let (app, request, run) = (Arc::clone(&self.app), request.clone(), Arc::clone(run));
        if *self.stopping.borrow() {
            run.stop.store(true, Ordering::Relaxed);
        }
        let executed = tokio::task::spawn_blocking(move || {
            let step = execute::apart(&app, &mut client, &request, &run.stop);
            (client, step)
        });
        match executed.await {
            Ok((client, step)) => {
                self.client = client;
                step
            }
            Err(_) => {
                // The client is lost with what it was.
                self.client.close_after_reply = true;
                Step::Done(Reply::Error(LOST.to_owned()), Tickets::new())
            }
        }
    }
}
