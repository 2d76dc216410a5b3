//! fred on its own, as one would write a store with it: milliseconds, a transaction and a scan.

use fred::prelude::*;
use serde_json::json;
use sojourn_matrix::{LONG_S, Outcome, Sessions, live, port, uses};

struct Store(Client);

impl Store {
    async fn write(&self, key: &str, session: &serde_json::Value, seconds: u32) -> Outcome<()> {
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

    async fn read(&self, key: &String) -> Outcome<serde_json::Value> {
        let text: Option<String> = self.0.get(key).await?;
        Ok(text.map_or(Ok(serde_json::Value::Null), |text| serde_json::from_str(&text))?)
    }

    async fn modify(&self, key: &String) -> Outcome<()> {
        let mut session = self.read(key).await?;
        session["visits"] = json!(session["visits"].as_u64().unwrap_or(0) + 1);
        let transaction = self.0.multi();
        let _: () = transaction.set(key, session.to_string(), None, None, false).await?;
        let _: () = transaction.expire(key, i64::from(LONG_S), None).await?;
        let _: Value = transaction.exec(true).await?;
        Ok(())
    }

    async fn touch(&self, key: &String) -> Outcome<Option<serde_json::Value>> {
        let touched: i64 = self.0.expire(key, i64::from(LONG_S), None).await?;
        Ok(Some(json!(touched)))
    }

    async fn list(&self) -> Outcome<Option<serde_json::Value>> {
        let page: Value = self.0.scan_page("0", "fred:*", Some(100), None).await?;
        let [cursor, keys] = <[Value; 2]>::try_from(page.into_array()).map_err(|_| "a page is a cursor and keys")?;
        let mut keys: Vec<_> = keys.into_array().into_iter().filter_map(Value::into_string).collect();
        keys.sort();
        Ok(Some(json!([cursor.into_string(), keys])))
    }

    async fn regenerate(&self, key: &String) -> Outcome<Option<String>> {
        let fresh = format!("{key}:2");
        let _: () = self.0.rename(key, fresh.as_str()).await?;
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
