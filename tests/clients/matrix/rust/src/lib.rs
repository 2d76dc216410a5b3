//! A driver's side of the talk that `play.mjs` describes, and the life of a session as `node/life.mjs` tells it.

use std::error::Error;
use std::future::Future;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

pub const LONG_S: u32 = 3_600;
/// Two, since some libraries round what is left down to whole seconds, and Redis refuses a life of 0.
const BRIEF_S: u32 = 2;
/// Slept and not polled: a read is a touch where sessions roll, and would keep it alive.
const SURELY_OVER: Duration = Duration::from_millis(3_200);
const AGAIN_WITHIN: Duration = Duration::from_secs(15);

/// What a library does with a session; what it does not offer answers `None`.
pub trait Sessions {
    type Handle;

    fn create(&self, user: &str, seconds: u32) -> impl Future<Output = Outcome<Self::Handle>>;
    fn read(&self, handle: &Self::Handle) -> impl Future<Output = Outcome<Value>>;
    fn modify(&self, handle: &Self::Handle) -> impl Future<Output = Outcome<()>>;
    fn destroy(&self, handle: &Self::Handle) -> impl Future<Output = Outcome<()>>;

    fn touch(&self, _handle: &Self::Handle) -> impl Future<Output = Outcome<Option<Value>>> {
        async { Ok(None) }
    }

    fn list(&self) -> impl Future<Output = Outcome<Option<Value>>> {
        async { Ok(None) }
    }

    fn regenerate(&self, _handle: &Self::Handle) -> impl Future<Output = Outcome<Option<Self::Handle>>> {
        async { Ok(None) }
    }
}

pub async fn live<S: Sessions>(sessions: &S) -> Outcome<()> {
    let mut ada = sessions.create("ada", LONG_S).await?;
    let grace = sessions.create("grace", LONG_S).await?;
    step("create", async { Ok(json!("created")) }).await?;
    step("read", both(sessions, &ada, &grace)).await?;
    step("modify", modified(sessions, &ada)).await?;
    step("touch", async {
        match sessions.touch(&ada).await? {
            Some(touched) => Ok(json!({ "touched": touched, "read": sessions.read(&ada).await? })),
            None => Ok(not_offered()),
        }
    })
    .await?;
    step("list", async { Ok(sessions.list().await?.unwrap_or_else(not_offered)) }).await?;
    match sessions.regenerate(&ada).await {
        Ok(Some(fresh)) => {
            let old = std::mem::replace(&mut ada, fresh);
            step("regenerate", async {
                Ok(json!({ "old": sessions.read(&old).await?, "new": sessions.read(&ada).await? }))
            })
            .await?;
        }
        Ok(None) => step("regenerate", async { Ok(not_offered()) }).await?,
        Err(error) => step("regenerate", async { Err(error) }).await?,
    }
    step("expire", expires(sessions)).await?;
    crash()?;
    step("read after the crash", both(sessions, &ada, &grace)).await?;
    step("modify after the crash", modified(sessions, &ada)).await?;
    step("destroy", async {
        sessions.destroy(&grace).await?;
        sessions.read(&grace).await
    })
    .await?;
    crash()?;
    step("read after the second crash", both(sessions, &ada, &grace)).await?;
    end()
}

async fn both<S: Sessions>(sessions: &S, ada: &S::Handle, grace: &S::Handle) -> Outcome<Value> {
    Ok(json!([again(|| sessions.read(ada)).await?, again(|| sessions.read(grace)).await?]))
}

async fn modified<S: Sessions>(sessions: &S, handle: &S::Handle) -> Outcome<Value> {
    sessions.modify(handle).await?;
    sessions.read(handle).await
}

async fn expires<S: Sessions>(sessions: &S) -> Outcome<Value> {
    let brief = sessions.create("brief", BRIEF_S).await?;
    let first = sessions.read(&brief).await?;
    tokio::time::sleep(SURELY_OVER).await;
    Ok(json!({ "first": first, "then": sessions.read(&brief).await? }))
}

/// After a crash a client may need a moment to connect again; what it answers then is what counts.
pub async fn again<T, F: Future<Output = Outcome<T>>>(act: impl Fn() -> F) -> Outcome<T> {
    let deadline = Instant::now() + AGAIN_WITHIN;
    loop {
        match act().await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(50)).await,
            outcome => return outcome,
        }
    }
}

fn not_offered() -> Value {
    json!("not offered")
}

pub fn port() -> Outcome<u16> {
    Ok(std::env::var("REDIS_PORT")?.parse()?)
}

pub fn url() -> Outcome<String> {
    Ok(format!("redis://127.0.0.1:{}/", port()?))
}

/// The crates by name, with the versions that the lock file says were built; `name@1` where it has several.
pub fn uses(crates: &[&str]) -> Outcome<()> {
    let lock = include_str!("../Cargo.lock");
    let mut versions = serde_json::Map::new();
    for name in crates {
        let (name, major) = name.split_once('@').unwrap_or((name, ""));
        let head = format!("name = \"{name}\"\nversion = \"{major}");
        let (_, rest) = lock.split_once(&head).ok_or_else(|| format!("{name} is not in the lock file"))?;
        let version = rest.split('"').next().unwrap_or_default();
        versions.insert(name.to_owned(), json!(format!("{major}{version}")));
    }
    say(&json!({ "versions": versions }))
}

pub async fn step(name: &str, act: impl Future<Output = Outcome<Value>>) -> Outcome<()> {
    let result = act.await.unwrap_or_else(|error| json!({ "error": error.to_string() }));
    say(&json!({ "step": name, "result": result }))
}

pub fn crash() -> Outcome<()> {
    say(&json!({ "crash": true }))
}

pub fn end() -> Outcome<()> {
    say(&json!({ "done": true }))
}

fn say(line: &Value) -> Outcome<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}
