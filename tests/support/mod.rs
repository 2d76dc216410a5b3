//! What the tests share: real servers, started and ended by the test that needs them, and a plain client.

pub mod process;
pub mod redis;
pub mod resp;
pub mod sojourn;
