//! axum_session's Redis pool, called as its session store calls it.

use std::time::{SystemTime, UNIX_EPOCH};

use axum_session::DatabasePool;
use axum_session_redispool::SessionRedisPool;
use redis_pool::RedisPool;
use serde_json::{Value, json};
use sojourn_matrix::{LONG_S, Outcome, Sessions, live, url, uses};

/// Part of every key.
const TABLE: &str = "axum";

struct Store(SessionRedisPool);

impl Store {
    async fn write(&self, id: &str, session: &Value, seconds: u32) -> Outcome<()> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let expires_s = i64::try_from(now_s + u64::from(seconds))?;
        Ok(self.0.store(id, &session.to_string(), expires_s, TABLE).await?)
    }
}

impl Sessions for Store {
    type Handle = String;

    async fn create(&self, user: &str, seconds: u32) -> Outcome<String> {
        let id = format!("id-of-{user}");
        self.write(&id, &json!({ "user": user, "visits": 0 }), seconds).await?;
        Ok(id)
    }

    async fn read(&self, id: &String) -> Outcome<Value> {
        // Its load answers an error for what is not there, so that its own store asks this first.
        if !self.0.exists(id, TABLE).await? {
            return Ok(Value::Null);
        }
        let text = self.0.load(id, TABLE).await?;
        Ok(text.map_or(Ok(Value::Null), |text| serde_json::from_str(&text))?)
    }

    async fn modify(&self, id: &String) -> Outcome<()> {
        let mut session = self.read(id).await?;
        session["visits"] = json!(session["visits"].as_u64().unwrap_or(0) + 1);
        self.write(id, &session, LONG_S).await
    }

    async fn list(&self) -> Outcome<Option<Value>> {
        let mut ids = self.0.get_ids(TABLE).await?;
        ids.sort();
        Ok(Some(json!({ "count": self.0.count(TABLE).await?, "ids": ids })))
    }

    async fn regenerate(&self, id: &String) -> Outcome<Option<String>> {
        let fresh = format!("{id}-2");
        self.write(&fresh, &self.read(id).await?, LONG_S).await?;
        self.destroy(id).await?;
        Ok(Some(fresh))
    }

    async fn destroy(&self, id: &String) -> Outcome<()> {
        Ok(self.0.delete_one_by_id(id, TABLE).await?)
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    uses(&["axum_session_redispool", "axum_session", "redis_pool"])?;
    let client = redis::Client::open(url()?)?;
    live(&Store(SessionRedisPool::from(RedisPool::from(client)))).await
}
