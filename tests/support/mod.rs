//! What the tests share: real servers, started and ended by the test that needs them, and a plain client.

#![allow(dead_code, reason = "each test binary uses another part of what is shared")]

pub mod certificates;
pub mod disk;
pub mod http;
pub mod machine;
pub mod process;
pub mod processors;
pub mod proxy;
pub mod redis;
pub mod resp;
pub mod server;
pub mod sojourn;
pub mod tls;
