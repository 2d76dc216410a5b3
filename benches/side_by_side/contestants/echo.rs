//! The limit: a server of the same shape as Sojourn's (one current-thread runtime per core) that answers each request
//! with a fixed reply of the right length and does nothing else. It only looks for where requests begin: no load sends
//! another asterisk.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};

use crate::stage::session::{VALUE_BYTES, value};

/// What the names of its threads start with, so that their processor time can be told from the generator's.
pub const THREADS: &str = "echo-";

/// What is read at once, as Sojourn does.
const READ_BYTES: usize = 16 * 1024;

/// `*2`, CR, LF, `$3`, CR, LF and the first letter of the command.
const HEAD_BYTES: usize = 9;

type Handed = mpsc::UnboundedSender<std::net::TcpStream>;

/// A running echo.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    stop: Option<watch::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When a thread, a runtime or a port is refused.
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (stop, stopped) = watch::channel(());
        let mut echo = Self { address: listener.local_addr()?, stop: Some(stop), threads: Vec::new() };
        let mut workers = Vec::new();
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            let (worker, handed) = mpsc::unbounded_channel();
            workers.push(worker);
            echo.spawn(work(handed, stopped.clone()))?;
        }
        echo.spawn(accept(listener, workers, stopped))?;
        Ok(echo)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let thread = std::thread::Builder::new().name(format!("{THREADS}{}", self.threads.len()));
        self.threads.push(thread.spawn(move || runtime.block_on(work))?);
        Ok(())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, workers: Vec<Handed>, mut stopped: watch::Receiver<()>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    for worker in workers.iter().cycle() {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let Ok(stream) = stream.into_std() else { continue };
                // A worker ends only when all end.
                let _ = worker.send(stream);
            }
            _ = stopped.changed() => return,
        }
    }
}

async fn work(mut handed: mpsc::UnboundedReceiver<std::net::TcpStream>, mut stopped: watch::Receiver<()>) {
    loop {
        tokio::select! {
            Some(stream) = handed.recv() => { tokio::spawn(serve(stream)); }
            _ = stopped.changed() => return,
        }
    }
}

/// Answers until the client hangs up.
async fn serve(stream: std::net::TcpStream) -> io::Result<()> {
    let mut stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    let value = format!("${VALUE_BYTES}\r\n{}\r\n", value(0)).into_bytes();
    let (mut input, mut output) = (vec![0; READ_BYTES], Vec::new());
    let mut held = 0;
    loop {
        let read = stream.read(&mut input[held..]).await?;
        if read == 0 {
            return Ok(());
        }
        let end = held + read;
        let answered = answer(&input[..end], &value, &mut output);
        input.copy_within(answered..end, 0);
        held = end - answered;
        stream.write_all(&output).await?;
        output.clear();
    }
}

/// Writes a reply to each request that begins in `input`; answers how much of it is dealt with.
fn answer(input: &[u8], value: &[u8], output: &mut Vec<u8>) -> usize {
    for start in memchr::memchr_iter(b'*', input) {
        let Some(letter) = input.get(start + HEAD_BYTES - 1) else { return start };
        output.extend_from_slice(match letter {
            b'G' => value,
            b'S' => b"+OK\r\n",
            b'P' => b"+PONG\r\n",
            b'D' | b'E' => b":1\r\n",
            _ => b"-ERR this is only an echo\r\n",
        });
    }
    input.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_answered_once_however_it_is_cut() {
        let requests = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*3\r\n$6\r\nEXPIRE\r\n$1\r\nk\r\n$1\r\n9\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
        for cut in 0..requests.len() {
            let mut output = Vec::new();
            let answered = answer(&requests[..cut], b"$1\r\nv\r\n", &mut output);
            answer(&requests[answered..], b"$1\r\nv\r\n", &mut output);
            assert_eq!(output, b"$1\r\nv\r\n:1\r\n+OK\r\n", "cut at {cut}");
        }
    }
}
