//! tower-sessions with its Redis store on fred.

use std::sync::Arc;

use serde_json::{Value, json};
use sojourn_matrix::{Outcome, Sessions, live, port, uses};
use tower_sessions_core::session::{Expiry, Id, Session};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::*;

struct Store(Arc<RedisStore<Pool>>);

impl Store {
    /// As the middleware makes it of a request's cookie.
    fn request(&self, id: Option<Id>, seconds: u32) -> Session {
        let lifetime = std::time::Duration::from_secs(u64::from(seconds));
        Session::new(id, self.0.clone(), Some(Expiry::OnInactivity(lifetime.try_into().unwrap_or_default())))
    }
}

impl Sessions for Store {
    type Handle = Id;

    async fn create(&self, user: &str, seconds: u32) -> Outcome<Id> {
        let session = self.request(None, seconds);
        session.insert("user", user).await?;
        session.insert("visits", 0).await?;
        session.save().await?;
        Ok(session.id().ok_or("a saved session has an id")?)
    }

    async fn read(&self, id: &Id) -> Outcome<Value> {
        let session = self.request(Some(*id), sojourn_matrix::LONG_S);
        let user: Option<String> = session.get("user").await?;
        let visits: Option<u64> = session.get("visits").await?;
        Ok(user.map_or(Value::Null, |user| json!({ "user": user, "visits": visits })))
    }

    async fn modify(&self, id: &Id) -> Outcome<()> {
        let session = self.request(Some(*id), sojourn_matrix::LONG_S);
        let visits: Option<u64> = session.get("visits").await?;
        session.insert("visits", visits.unwrap_or(0) + 1).await?;
        Ok(session.save().await?)
    }

    async fn touch(&self, id: &Id) -> Outcome<Option<Value>> {
        let session = self.request(Some(*id), sojourn_matrix::LONG_S);
        session.load().await?;
        session.save().await?;
        Ok(Some(json!("saved")))
    }

    async fn regenerate(&self, id: &Id) -> Outcome<Option<Id>> {
        let session = self.request(Some(*id), sojourn_matrix::LONG_S);
        session.load().await?;
        session.cycle_id().await?;
        session.save().await?;
        Ok(session.id())
    }

    async fn destroy(&self, id: &Id) -> Outcome<()> {
        Ok(self.request(Some(*id), sojourn_matrix::LONG_S).flush().await?)
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    uses(&["tower-sessions-redis-store", "tower-sessions-core", "fred"])?;
    let config = Config { server: ServerConfig::new_centralized("127.0.0.1", port()?), ..Config::default() };
    let pool = Builder::from_config(config).set_policy(ReconnectPolicy::new_constant(0, 50)).build_pool(2)?;
    pool.init().await?;
    live(&Store(Arc::new(RedisStore::new(pool)))).await
}
