//! fred on its own, as one would write a store with it: milliseconds, a transaction and a scan.

use fred::prelude::*;
use serde_json::{Value, json};
use sojourn_matrix::{LONG_S, Outcome, Sessions, live, port, uses};

struct Store(Client);

impl Store {
    async fn write(&self, key: &str, session: &Value, seconds: u32) -> Outcome<()> {
        let expiry = Some(Expiration::PX(i64::from(seconds) * 1_000));
        Ok(self.0.set(key, session.to_string(), expiry, None, false).await?)
    }
}

impl Sessions for Store {
    type Handle = String;

    async fn create(&self, user: &str, seconds: u32) -> Outcome<String> {
        let key = format!("fred:{user}");
        self.write(&key, &json!({ "user": user, "visits": 0 }), seconds).await?;
        Ok(key)
    }

    async fn read(&self, key: &String) -> Outcome<Value> {
        let text: Option<String> = self.0.get(key).await?;
        Ok(text.map_or(Ok(Value::Null), |text| serde_json::from_str(&text))?)
    }

    async fn modify(&self, key: &String) -> Outcome<()> {
        let mut session = self.read(key).await?;
        session["visits"] = json!(session["visits"].as_u64().unwrap_or(0) + 1);
        let transaction = self.0.multi();
        let _: () = transaction.set(key, session.to_string(), None, None, false).await?;
        let _: () = transaction.expire(key, i64::from(LONG_S), None).await?;
        let _: Vec<Value> = transaction.exec(true).await.map(|_: fred::types::Value| Vec::new())?;
        Ok(())
    }

    async fn touch(&self, key: &String) -> Outcome<Option<Value>> {
        let touched: i64 = self.0.expire(key, i64::from(LONG_S), None).await?;
        Ok(Some(json!(touched)))
    }

    async fn list(&self) -> Outcome<Option<Value>> {
        let (cursor, mut keys): (String, Vec<String>) = self.0.scan_page("0", "fred:*", Some(100), None).await?;
        keys.sort();
        Ok(Some(json!([cursor, keys])))
    }

    async fn regenerate(&self, key: &String) -> Outcome<Option<String>> {
        let fresh = format!("{key}:2");
        let _: () = self.0.rename(key, &fresh).await?;
        Ok(Some(fresh))
    }

    async fn destroy(&self, key: &String) -> Outcome<()> {
        let _: i64 = self.0.del(key).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    uses(&["fred"])?;
    let config = Config { server: ServerConfig::new_centralized("127.0.0.1", port()?), ..Config::default() };
    let client = Builder::from_config(config).set_policy(ReconnectPolicy::new_constant(0, 50)).build()?;
    client.init().await?;
    live(&Store(client)).await
}
