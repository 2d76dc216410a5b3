//! actix-session's Redis store, called as its middleware calls it.

use actix_session::storage::{RedisSessionStore, SessionKey, SessionStore};
use actix_web::cookie::time::Duration;
use serde_json::{Map, Value, json};
use sojourn_matrix::{LONG_S, Outcome, Sessions, live, url, uses};

struct Store(RedisSessionStore);

/// A key cannot be cloned, but be made of its text, which is what the cookie holds.
fn key(text: &str) -> Outcome<SessionKey> {
    Ok(text.to_owned().try_into()?)
}

impl Store {
    async fn load(&self, text: &str) -> Outcome<Option<Map<String, Value>>> {
        Ok(self.0.load(&key(text)?).await?)
    }
}

fn lifetime(seconds: u32) -> Duration {
    Duration::seconds(i64::from(seconds))
}

impl Sessions for Store {
    type Handle = String;

    async fn create(&self, user: &str, seconds: u32) -> Outcome<String> {
        let mut state = Map::new();
        state.insert("user".to_owned(), json!(user));
        state.insert("visits".to_owned(), json!(0));
        Ok(self.0.save(state, &lifetime(seconds)).await?.as_ref().to_owned())
    }

    async fn read(&self, handle: &String) -> Outcome<Value> {
        Ok(self.load(handle).await?.map_or(Value::Null, Value::Object))
    }

    async fn modify(&self, handle: &String) -> Outcome<()> {
        let mut state = self.load(handle).await?.ok_or("no such session")?;
        let visits = state.get("visits").and_then(Value::as_u64).unwrap_or(0);
        state.insert("visits".to_owned(), json!(visits + 1));
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
