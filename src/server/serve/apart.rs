//! Requests that take long: a script that is no matter of moments, or a walk over many keys, runs on a thread of its own, and
//! its connection waits for it as it waits for the database. Its thread's other connections never do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Connection;
use crate::commands::execute::{self, Long, Step};
use crate::keyspace::Tickets;
use crate::protocol::{Reply, Request};

/// What a command answers whose thread ended before it did.
const LOST: &str = "ERR internal error: the command was lost";

impl Connection {
    /// Runs a request that takes long on a thread that nobody else needs; this thread's other connections go on.
    pub(super) async fn run_apart(&mut self, request: Request, long: Long) {
        let (reply, tickets) = match long {
            Long::Script => self.run_script(&request).await,
            Long::Walk => self.walk(&request).await,
        };
        self.hold(reply, tickets);
    }

    async fn run_script(&mut self, request: &Request) -> (Reply, Tickets) {
        let Some(run) = self.app.scripts.begin_long_run().await else {
            return (execute::busy(&self.app, &mut self.client), Tickets::new());
        };
        if *self.stopping.borrow() {
            run.stop.store(true, Ordering::Relaxed);
        }
        let (stop, run) = (Arc::clone(&run.stop), Arc::new(run));
        loop {
            match self.step_apart(request, &stop, &run).await {
                Step::Done(reply, tickets) => return (reply, tickets),
                Step::Load(keys) => {
                    if let Err(reply) = self.load(keys).await {
                        return (reply, Tickets::new());
                    }
                }
                Step::Wait(_) | Step::AwaitKeys | Step::Apart(_) => return lost(),
            }
        }
    }

    /// Nothing needs to stop a walk: it ends by itself, and soon.
    async fn walk(&mut self, request: &Request) -> (Reply, Tickets) {
        let Ok(turn) = Arc::clone(&self.app.keyspace.walks).acquire_owned().await else { return lost() };
        match self.step_apart(request, &Arc::default(), &Arc::new(turn)).await {
            Step::Done(reply, tickets) => (reply, tickets),
            Step::Load(_) | Step::Wait(_) | Step::AwaitKeys | Step::Apart(_) => lost(),
        }
    }

    /// Runs it; `leave` is given back when it has ended, even if the connection is gone by then.
    async fn step_apart<T>(&mut self, request: &Request, stop: &Arc<AtomicBool>, leave: &Arc<T>) -> Step
    where
        T: Send + Sync + 'static,
    {
        let stand_in = self.client.stand_in(&self.app.users);
        let mut client = std::mem::replace(&mut self.client, stand_in);
        let (app, request, stop) = (Arc::clone(&self.app), request.clone(), Arc::clone(stop));
        let leave = Arc::clone(leave);
        let executed = tokio::task::spawn_blocking(move || {
            let step = execute::apart(&app, &mut client, &request, &stop);
            drop(leave);
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

fn lost() -> (Reply, Tickets) {
    (Reply::Error(LOST.to_owned()), Tickets::new())
}
