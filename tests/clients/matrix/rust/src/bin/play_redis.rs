//! redis-rs on tokio, by its connection manager: SETEX, GETEX, a pipeline that is a transaction, and a scan.

use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use serde_json::{Value, json};
use sojourn_matrix::{LONG_S, Outcome, Sessions, live, url, uses};

struct Store(ConnectionManager);

impl Sessions for Store {
    type Handle = String;

    async fn create(&self, user: &str, seconds: u32) -> Outcome<String> {
        let key = format!("redis-rs:{user}");
        let session = json!({ "user": user, "visits": 0 }).to_string();
        let _: () = self.0.clone().set_ex(&key, session, u64::from(seconds)).await?;
        Ok(key)
    }

    async fn read(&self, key: &String) -> Outcome<Value> {
        let text: Option<String> = self.0.clone().get(key).await?;
        Ok(text.map_or(Ok(Value::Null), |text| serde_json::from_str(&text))?)
    }

    async fn modify(&self, key: &String) -> Outcome<()> {
        let mut session = self.read(key).await?;
        session["visits"] = json!(session["visits"].as_u64().unwrap_or(0) + 1);
        let mut pipeline = redis::pipe();
        pipeline.atomic().set(key, session.to_string()).ignore().expire(key, i64::from(LONG_S)).ignore();
        let _: () = pipeline.query_async(&mut self.0.clone()).await?;
        Ok(())
    }

    async fn touch(&self, key: &String) -> Outcome<Option<Value>> {
        let touched: Option<String> = self.0.clone().get_ex(key, redis::Expiry::EX(u64::from(LONG_S))).await?;
        Ok(Some(json!(touched.is_some())))
    }

    async fn list(&self) -> Outcome<Option<Value>> {
        let mut connection = self.0.clone();
        let mut keys: Vec<String> = connection.keys("redis-rs:*").await?;
        keys.sort();
        Ok(Some(json!(keys)))
    }

    async fn regenerate(&self, key: &String) -> Outcome<Option<String>> {
        let fresh = format!("{key}:2");
        let _: () = self.0.clone().rename(key, &fresh).await?;
        Ok(Some(fresh))
    }

    async fn destroy(&self, key: &String) -> Outcome<()> {
        let _: i64 = self.0.clone().del(key).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    uses(&["redis@1"])?;
    live(&Store(ConnectionManager::new(redis::Client::open(url()?)?).await?)).await
}
