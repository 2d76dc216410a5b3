//! Client libraries of other languages than JavaScript, whose own tests speak TLS in `tests/clients`.

use std::process::Command;

use redis::{Client, ClientTlsConfig, Commands, TlsCertificates};

use super::start;
use super::support::certificates::{Authority, text};

/// Sets, reads and touches a session by `rediss://` with a certificate of its own.
const REDIS_PY: &str = r"
import sys, redis
url, authorities, certificate, key = sys.argv[1:]
client = redis.from_url(url, ssl_ca_certs=authorities, ssl_certfile=certificate, ssl_keyfile=key)
assert client.set('sess:py', '{}', ex=100) and client.get('sess:py') == b'{}' and client.expire('sess:py', 1000)
with client.pipeline() as pipeline:
    print(pipeline.ttl('sess:py').delete('sess:py').execute())
";

#[test]
fn redis_rs_connects() {
    let authority = Authority::new();
    let (_server, address) = start(&authority, "yes");
    let client = authority.issue();
    let read = |path: &std::path::Path| std::fs::read(path).expect("a file");
    let certificates = TlsCertificates {
        client_tls: Some(ClientTlsConfig { client_cert: read(&client.certificate), client_key: read(&client.key) }),
        root_cert: Some(read(&authority.certificate())),
    };
    let url = format!("rediss://127.0.0.1:{}/", address.port());
    let client = Client::build_with_tls(url, certificates).expect("a client");
    let mut connection = client.get_connection().expect("a connection");
    let () = connection.set_ex("sess:rs", "{}", 100).expect("a reply");
    let (value, ttl_s): (String, i64) =
        redis::pipe().get("sess:rs").ttl("sess:rs").query(&mut connection).expect("two replies");
    assert!(value == "{}" && (90..=100).contains(&ttl_s), "{value} {ttl_s}");
}

#[test]
fn redis_py_connects() {
    let authority = Authority::new();
    let (_server, address) = start(&authority, "yes");
    let (client, authorities) = (authority.issue(), authority.certificate());
    let url = format!("rediss://127.0.0.1:{}/0", address.port());
    // Debian's package is for Debian's Python, which may not be the first in PATH.
    let has_redis = |python: &&str| {
        Command::new(python).args(["-c", "import redis"]).output().is_ok_and(|output| output.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(has_redis);
    let python = python.expect("a Python with redis-py is needed for this test (Debian: python3-redis)");
    let mut script = Command::new(python);
    script.args(["-c", REDIS_PY, &url, text(&authorities), text(&client.certificate), text(&client.key)]);
    let output = script.output().expect("python");
    let says = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(says, "[1000, 1]\n", "{}", String::from_utf8_lossy(&output.stderr));
}
