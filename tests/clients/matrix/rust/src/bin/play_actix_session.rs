//! actix-session's Redis store, called as its middleware calls it.

use std::collections::HashMap;

use actix_session::storage::{RedisSessionStore, SessionKey, SessionStore};
use actix_web::cookie::time::Duration;
use serde_json::{Value, json};
use sojourn_matrix::{LONG_S, Outcome, Sessions, live, url, uses};

/// What actix-session keeps: each value as JSON text.
type State = HashMap<String, String>;

struct Store(RedisSessionStore);

/// A key cannot be cloned, but be made of its text, which is what the cookie holds.
fn key(text: &str) -> Outcome<SessionKey> {
    Ok(text.to_owned().try_into()?)
}

impl Store {
    async fn load(&self, text: &str) -> Outcome<Option<State>> {
        Ok(self.0.load(&key(text)?).await?)
    }
}

fn lifetime(seconds: u32) -> Duration {
    Duration::seconds(i64::from(seconds))
}

impl Sessions for Store {
    type Handle = String;

    async fn create(&self, user: &str, seconds: u32) -> Outcome<String> {
        let state = State::from([("user".to_owned(), json!(user).to_string()), ("visits".to_owned(), "0".to_owned())]);
        Ok(self.0.save(state, &lifetime(seconds)).await?.as_ref().to_owned())
    }

    async fn read(&self, handle: &String) -> Outcome<Value> {
        Ok(self
            .load(handle)
            .await?
            .map_or(Value::Null, |state| json!({ "user": state["user"], "visits": state["visits"] })))
    }

    async fn modify(&self, handle: &String) -> Outcome<()> {
        let mut state = self.load(handle).await?.ok_or("no such session")?;
        let visits = state["visits"].parse::<u64>()?;
        state.insert("visits".to_owned(), (visits + 1).to_string());
        self.0.update(key(handle)?, state, &lifetime(LONG_S)).await?;
        Ok(())
    }

    async fn touch(&self, handle: &String) -> Outcome<Option<Value>> {
        self.0.update_ttl(&key(handle)?, &lifetime(LONG_S)).await?;
        Ok(Some(json!("lengthened")))
    }

    async fn regenerate(&self, handle: &String) -> Outcome<Option<String>> {
        let state = self.load(handle).await?.ok_or("no such session")?;
        self.0.delete(&key(handle)?).await?;
        Ok(Some(self.0.save(state, &lifetime(LONG_S)).await?.as_ref().to_owned()))
    }

    async fn destroy(&self, handle: &String) -> Outcome<()> {
        Ok(self.0.delete(&key(handle)?).await?)
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    uses(&["actix-session", "redis"])?;
    live(&Store(RedisSessionStore::new(url()?).await?)).await
}
